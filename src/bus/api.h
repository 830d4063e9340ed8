#ifndef TIDEMILL_BUS_API_H
#define TIDEMILL_BUS_API_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "bus/control.h"

/*
 * One call of the JetStream API: a JSON request on `$JS.API.<operation>`, a JSON reply. What the
 * server cannot answer for the moment (no leader yet, starting up) is asked again for some seconds.
 * Blocks; any thread but a worker's loop.
 */

/* The error codes that the server gives and that mean something here. */
enum {
    API_OK = 0,
    API_INSUFFICIENT = 10023,
    API_CONSUMER_MISSING = 10014,
    API_CONSUMER_BAD_FILTER = 10093,
    API_SEQUENCE_MISSING = 10043,
    API_NAME_IN_USE = 10058,
    API_STREAM_MISSING = 10059,
    API_SUBJECTS_OVERLAP = 10065
};

struct api_reply {
    char *text; /* the JSON, NUL-terminated */
    size_t size;
    int64_t code;          /* API_OK, or the server's err_code */
    char description[256]; /* of the error, in the server's words */
};

/*
 * Calls `operation` ("STREAM.INFO.alerts") with `body` (NULL: none). Returns 0 when the server
 * answered, be it with an error (see `code`); -1 with one clear line when JetStream is not there,
 * not enabled or not permitted. The caller frees the reply in the first case.
 */
int api_call(struct control *control, struct api_reply *reply, const char *body, struct error *err,
             const char *operation, ...) __attribute__((format(printf, 5, 6)));

/* For who sends the call and takes its answer otherwise: the subject of an operation. */
enum { API_SUBJECT_SIZE = 1024 };
int api_subject(char subject[API_SUBJECT_SIZE], struct error *err, const char *operation,
                va_list args) __attribute__((format(printf, 3, 0)));

/*
 * Reads the text of an answer, which is copied. Returns 0, or -1 when it is none, or says that
 * there is no JetStream. The caller frees the reply in the first case.
 */
int api_reply_read(struct api_reply *reply, const char *text, size_t size, struct error *err);

void api_reply_free(struct api_reply *reply);

#endif
