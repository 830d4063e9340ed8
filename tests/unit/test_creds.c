#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bus/creds.h"

#define SEED "SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776Y"
#define HEAD "eyJ0eXAiOiJKV1QifQ."

static char path[64];

static const char *with_text(const char *text, size_t size)
{
    snprintf(path, sizeof(path), "/tmp/tidemill-creds-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, size), size);
    close(fd);
    return path;
}

static int remove_file(void **state)
{
    (void)state;
    if (path[0] != '\0')
        remove(path);
    path[0] = '\0';
    return 0;
}

#define expect_error(text, says) expect_error_of(with_text(text, strlen(text)), says)

static void expect_error_of(const char *name, const char *says)
{
    struct error err = {""};
    assert_int_equal(creds_check(name, &err), -1);
    if (strstr(err.text, name) == NULL || strstr(err.text, says) == NULL)
        fail_msg("no \"%s\" with the name in: %s", says, err.text);
    assert_null(strstr(err.text, "AAAAICAMCAKBQ")); /* no secret in it */
    remove_file(NULL);
}

static void test_a_token_and_a_seed_are_creds(void **state)
{
    (void)state;
    static const char text[] = "-----BEGIN NATS USER JWT-----\n" HEAD "e30.x\n"
                               "------END NATS USER JWT------\n\n"
                               "-----BEGIN USER NKEY SEED-----\n" SEED "\n"
                               "------END USER NKEY SEED------\n";
    struct error err = {""};
    if (creds_check(with_text(text, strlen(text)), &err) != 0)
        fail_msg("%s", err.text);
}

static void test_what_is_no_creds_file_is_said_of_it(void **state)
{
    (void)state;
    expect_error("", "is empty");
    expect_error("hello\n", "holds no JWT");
    expect_error("---\nxeyJ.e30.x\n---\n" SEED "\n", "holds no JWT");
    expect_error("---\neyJ.e30\n---\n" SEED "\n", "holds no JWT");
    expect_error("---\n" HEAD "e30.x\n---\n", "holds no NKey seed");
    expect_error("---\n" HEAD "e30.x\n---\n" SEED "A\n", "58 letters");
    expect_error("---\n" HEAD "e30.x\n---\n" SEED "\r\n", "line ends of Windows");
    expect_error_of("/tmp", "Is a directory");
    expect_error_of("/no/such/file", "No such file");
}

static void test_a_file_too_large_is_not_read_to_its_end(void **state)
{
    (void)state;
    expect_error_of("/dev/zero", "more than");
}

static void expect_expired(const char *claims, const char *expected)
{
    char text[256], when[UNITS_TIME_TEXT] = "";
    snprintf(text, sizeof(text), "---\n" HEAD "%s.x\n---\n" SEED "\n", claims);
    int expired = creds_expired(with_text(text, strlen(text)), when);
    remove_file(NULL);
    assert_int_equal(expired, expected != NULL);
    if (expected != NULL)
        assert_string_equal(when, expected);
}

static void test_the_time_of_a_token_may_be_over(void **state)
{
    (void)state;
    expect_expired("eyJleHAiOjE3MDAwMDAwMDB9", "2023-11-14T22:13:20Z"); /* {"exp":1700000000} */
    expect_expired("eyJleHAiOjk5OTk5OTk5OTl9", NULL);                   /* in the year 2286 */
    expect_expired("e30", NULL);                                        /* {}: for ever */
    expect_expired("eyJleHAiOiJ4In0", NULL);                            /* {"exp":"x"} */
    expect_expired("!!", NULL);
    char when[UNITS_TIME_TEXT];
    assert_int_equal(creds_expired("/no/such/file", when), 0);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_teardown(function, remove_file)
    const struct CMUnitTest tests[] = {
        TEST(test_a_token_and_a_seed_are_creds),
        TEST(test_what_is_no_creds_file_is_said_of_it),
        TEST(test_a_file_too_large_is_not_read_to_its_end),
        TEST(test_the_time_of_a_token_may_be_over),
    };
    return cmocka_run_group_tests_name("creds", tests, NULL, NULL);
}
