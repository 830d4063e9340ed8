#include "bus/options.h"

#include "base/clock.h"
#include "base/server_url.h"
#include "bus/creds.h"
#include "bus/nkey.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    /*
     * A dead peer is noticed within 45 s: the third ping without an answer. Not sooner, since a
     * worker in one long call of a rule reads no answers either (rules.hard_timeout).
     */
    PING_INTERVAL_MS = 15000,
    PINGS_OUTSTANDING = 2,
    /* A send that a stalled server blocks for so long fails, and the connection is made anew. */
    WRITE_DEADLINE_MS = 5000,
    /* What may be published while the server is away. */
    RECONNECT_BUFFER = 8 * 1024 * 1024
};

static int64_t milliseconds(int64_t ns)
{
    int64_t ms = ns / NS_PER_MS;
    return ms < 1 ? 1 : ms;
}

/* What libnats knows of this thread's last error, without "(file.c:123): " in front, or "". */
static const char *last_detail(void)
{
    const char *detail = nats_GetLastError(NULL);
    if (detail == NULL)
        return "";
    const char *behind = *detail == '(' ? strstr(detail, "): ") : NULL;
    return behind != NULL ? behind + 3 : detail;
}

/* An option that libnats refused, with what it knows. */
static int option_error(natsStatus s, const char *key, struct error *err)
{
    const char *detail = last_detail();
    return error_set(err, "nats.%s: %s%s%s", key, natsStatus_GetText(s),
                     *detail != '\0' ? ": " : "", detail);
}

/* libnats reports an unreadable file in the words of OpenSSL, or only when it connects. */
static int check_readable(const char *key, const char *path, struct error *err)
{
    FILE *file = fopen(path, "re");
    int first = file != NULL ? fgetc(file) : EOF;
    int failure = first == EOF ? errno : 0;
    if (file != NULL && first == EOF && !ferror(file))
        failure = -1;
    if (file != NULL)
        fclose(file);
    if (failure == -1)
        return error_set(err, "nats.%s: %s is empty", key, path);
    if (failure != 0)
        return error_set(err, "nats.%s: cannot read %s: %s", key, path, strerror(failure));
    return 0;
}

/*
 * Signs the server's nonce. Not left to libnats, which takes the white space around a seed for a
 * part of it.
 */
static natsStatus sign_nonce(char **error_text, unsigned char **signature, int *signature_size,
                             const char *nonce, void *path)
{
    struct error err;
    *signature = malloc(NKEY_SIGNATURE_SIZE);
    if (*signature == NULL)
        return NATS_NO_MEMORY;
    *signature_size = NKEY_SIGNATURE_SIZE;
    if (nkey_sign_by_file(path, nonce, *signature, &err) == 0)
        return NATS_OK;
    free(*signature);
    *signature = NULL;
    *error_text = strdup(err.text);
    return NATS_ERR;
}

static int set_credentials(natsOptions *options, const struct nats_config *config,
                           struct error *err)
{
    natsStatus s = NATS_OK;
    if (config->user != NULL) {
        s = natsOptions_SetUserInfo(options, config->user,
                                    config->password != NULL ? config->password : "");
        if (s != NATS_OK)
            return option_error(s, "user", err);
    }
    if (config->token != NULL) {
        s = natsOptions_SetToken(options, config->token);
        if (s != NATS_OK)
            return option_error(s, "token", err);
    }
    if (config->creds != NULL) {
        if (creds_check(config->creds, err) != 0)
            return error_prefix(err, "nats.creds");
        s = natsOptions_SetUserCredentialsFromFiles(options, config->creds, NULL);
        if (s != NATS_OK)
            return option_error(s, "creds", err);
    }
    if (config->nkey_seed != NULL) {
        char public_key[NKEY_PUBLIC_SIZE];
        if (nkey_public_of_file(config->nkey_seed, public_key, err) != 0)
            return error_prefix(err, "nats.nkey_seed");
        s = natsOptions_SetNKey(options, public_key, sign_nonce, config->nkey_seed);
        if (s != NATS_OK)
            return option_error(s, "nkey_seed", err);
    }
    return 0;
}

/* For OpenSSL, which would otherwise ask on the terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *asked)
{
    (void)buffer, (void)size, (void)writing;
    *(bool *)asked = true;
    return -1;
}

static int check_unlocked(const char *path, struct error *err)
{
    bool asked = false;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return error_set(err, "nats.tls.key: cannot read %s: %s", path, strerror(errno));
    EVP_PKEY_free(PEM_read_PrivateKey(file, NULL, no_passphrase, &asked));
    fclose(file);
    ERR_clear_error(); /* what else is wrong with it shows when libnats takes it */
    if (asked)
        return error_set(err,
                         "nats.tls.key: %s asks for a passphrase, which nobody can type: store it "
                         "without one (openssl pkey -in OLD -out NEW)",
                         path);
    return 0;
}

static int set_tls(natsOptions *options, const struct tls_config *tls, struct error *err)
{
    if (!tls->enabled)
        return 0;
    natsStatus s = natsOptions_SetSecure(options, true);
    if (s != NATS_OK)
        return option_error(s, "tls", err);
    if (tls->ca != NULL) {
        if (check_readable("tls.ca", tls->ca, err) != 0)
            return -1;
        if (natsOptions_LoadCATrustedCertificates(options, tls->ca) != NATS_OK)
            return error_set(err, "nats.tls.ca: %s holds no certificates in PEM form", tls->ca);
    }
    if ((tls->cert == NULL) != (tls->key == NULL))
        return error_set(err, "nats.tls: cert and key go together, and nats.tls.%s is missing",
                         tls->cert == NULL ? "cert" : "key");
    if (tls->cert != NULL) {
        if (check_readable("tls.cert", tls->cert, err) != 0 ||
            check_readable("tls.key", tls->key, err) != 0 || check_unlocked(tls->key, err) != 0)
            return -1;
        if (natsOptions_LoadCertificatesChain(options, tls->cert, tls->key) != NATS_OK)
            return error_set(err,
                             "nats.tls: %s and %s are no certificate and its private key in PEM "
                             "form",
                             tls->cert, tls->key);
    }
    if (tls->hostname != NULL) {
        s = natsOptions_SetExpectedHostname(options, tls->hostname);
        if (s != NATS_OK)
            return option_error(s, "tls.hostname", err);
    }
    s = natsOptions_SkipServerVerification(options, !tls->verify);
    return s == NATS_OK ? 0 : option_error(s, "tls.verify", err);
}

/*
 * The urls of the configuration as libnats gets them. Credentials that all urls share, which is
 * when one person wrote them, become options. Others stay in their urls, where libnats reads
 * percent encoding from 3.9 on.
 */
struct servers {
    size_t count;
    struct server_url *parts;
    const char **urls;
    const struct server_url *login; /* the shared credentials, or NULL */
};

static void servers_free(struct servers *servers)
{
    for (size_t i = 0; servers->parts != NULL && i < servers->count; i++)
        server_url_free(&servers->parts[i]);
    free(servers->parts);
    free(servers->urls);
    *servers = (struct servers){.count = 0};
}

static bool same_login(const struct server_url *a, const struct server_url *b)
{
    if (strcmp(a->user, b->user) != 0 || (a->password == NULL) != (b->password == NULL))
        return false;
    return a->password == NULL || strcmp(a->password, b->password) == 0;
}

/* `room`: how many urls more the list is to have place for. */
static int servers_read(struct servers *servers, const struct nats_config *config, size_t room,
                        struct error *err)
{
    bool differ = false;
    size_t count = config->urls.count;
    *servers = (struct servers){.count = count,
                                .parts = calloc(count + 1, sizeof(*servers->parts)),
                                .urls = calloc(count + room + 1, sizeof(*servers->urls))};
    if (servers->parts == NULL || servers->urls == NULL) {
        servers_free(servers);
        return error_set(err, "nats.url: out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        struct server_url *parts = &servers->parts[i];
        if (server_url_read(parts, config->urls.items[i], err) != 0) {
            servers_free(servers);
            return error_prefix(err, "nats.url");
        }
        if (parts->user != NULL && servers->login != NULL)
            differ = differ || !same_login(servers->login, parts);
        else if (parts->user != NULL)
            servers->login = parts;
    }
    if (differ)
        servers->login = NULL;
    for (size_t i = 0; i < count; i++)
        servers->urls[i] = differ ? config->urls.items[i] : servers->parts[i].address;
    return 0;
}

static int set_servers(natsOptions *options, const struct nats_config *config, struct error *err)
{
    struct servers servers;
    if (config->urls.count == 0 || config->urls.count > INT_MAX)
        return error_set(err, "nats.url: at least one url is needed");
    if (servers_read(&servers, config, 0, err) != 0)
        return -1;
    natsStatus s = natsOptions_SetServers(options, servers.urls, (int)servers.count);
    const struct server_url *login = servers.login;
    if (s == NATS_OK && login != NULL) { /* before nats.user and nats.token */
        s = natsOptions_SetUserInfo(options, login->password != NULL ? login->user : NULL,
                                    login->password);
        if (s == NATS_OK)
            s = natsOptions_SetToken(options, login->password != NULL ? NULL : login->user);
    }
    servers_free(&servers);
    return s == NATS_OK ? 0 : option_error(s, "url", err);
}

natsStatus nats_options_name(natsOptions *options, const struct nats_config *config,
                             const char *role)
{
    char name[256];
    snprintf(name, sizeof(name), "%s %s", config->name != NULL ? config->name : "tidemill", role);
    return natsOptions_SetName(options, name);
}

/* Times and sizes, which fail only when memory runs out or a value is out of range. */
static int set_behaviour(natsOptions *options, const struct nats_config *config, const char *role,
                         struct error *err)
{
    int64_t wait = milliseconds(config->reconnect_wait_ns);
    natsStatus s = nats_options_name(options, config, role);
    if (s == NATS_OK)
        s = natsOptions_SetTimeout(options, milliseconds(config->connect_timeout_ns));
    if (s == NATS_OK)
        s = natsOptions_SetReconnectWait(options, wait);
    /* So that a fleet does not come back all in one moment. */
    if (s == NATS_OK)
        s = natsOptions_SetReconnectJitter(options, wait / 4 + 1, wait / 2 + 1);
    if (s == NATS_OK)
        s = natsOptions_SetMaxReconnect(options, config->max_reconnects);
    if (s == NATS_OK)
        s = natsOptions_SetPingInterval(options, PING_INTERVAL_MS);
    if (s == NATS_OK)
        s = natsOptions_SetMaxPingsOut(options, PINGS_OUTSTANDING);
    if (s == NATS_OK)
        s = natsOptions_SetReconnectBufSize(options, RECONNECT_BUFFER);
    if (s == NATS_OK)
        s = natsOptions_SetWriteDeadline(options, WRITE_DEADLINE_MS);
    if (s == NATS_OK)
        s = natsOptions_SetNoRandomize(options, false);
    if (s != NATS_OK)
        return error_set(err, "nats: libnats refuses its options: %s", natsStatus_GetText(s));
    return 0;
}

int nats_options_build(natsOptions **options, const struct nats_config *config, const char *role,
                       struct error *err)
{
    natsOptions *built = NULL;
    *options = NULL;
    natsStatus s = natsOptions_Create(&built);
    if (s != NATS_OK)
        return error_set(err, "nats: libnats cannot start: %s", natsStatus_GetText(s));
    if (set_behaviour(built, config, role, err) != 0 || set_credentials(built, config, err) != 0 ||
        set_servers(built, config, err) != 0 || set_tls(built, &config->tls, err) != 0) {
        natsOptions_Destroy(built);
        return -1;
    }
    *options = built;
    return 0;
}

/* Whether a server that libnats names, "nats://host:port", is one of the configuration. */
static bool is_configured(const struct nats_config *config, const char *server)
{
    const char *address = strstr(server, "://");
    address = address != NULL ? address + 3 : server;
    for (size_t i = 0; i < config->urls.count; i++) {
        if (strstr(config->urls.items[i], address) != NULL)
            return true;
    }
    return false;
}

size_t nats_options_keep_servers(natsOptions *options, const struct nats_config *config,
                                 natsConnection *connection)
{
    char **known = NULL;
    int known_count = 0;
    struct servers servers;
    struct error ignored;
    natsConnection_GetServers(connection, &known, &known_count);
    size_t count = config->urls.count;
    if (servers_read(&servers, config, (size_t)known_count, &ignored) == 0) {
        for (int i = 0; i < known_count; i++) {
            if (!is_configured(config, known[i]))
                servers.urls[count++] = known[i];
        }
        natsOptions_SetServers(options, servers.urls, (int)count);
        servers_free(&servers);
    }
    for (int i = 0; i < known_count; i++)
        free(known[i]);
    free(known);
    return count;
}

void nats_config_servers(const struct nats_config *config, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < config->urls.count && used + 1 < size; i++) {
        const char *url = config->urls.items[i];
        const char *host = strstr(url, "://");
        host = host != NULL ? host + 3 : url;
        const char *at = strrchr(host, '@'); /* what stands before it is secret */
        int written = snprintf(text + used, size - used, "%s%.*s%s", i > 0 ? "," : "",
                               (int)(host - url), url, at != NULL ? at + 1 : host);
        used += written > 0 ? (size_t)written : 0;
    }
}

bool nats_connect_is_final(natsStatus status)
{
    switch (status) {
    case NATS_CONNECTION_AUTH_FAILED:
    case NATS_NOT_PERMITTED:
    case NATS_SSL_ERROR:
    case NATS_SECURE_CONNECTION_WANTED:
    case NATS_SECURE_CONNECTION_REQUIRED:
    case NATS_ADDRESS_MISSING:
    case NATS_INVALID_ARG:
    case NATS_NO_MEMORY:
    case NATS_NO_SERVER_SUPPORT:
        return true;
    default:
        return false;
    }
}

static bool url_has_credentials(const struct nats_config *config)
{
    for (size_t i = 0; i < config->urls.count; i++)
        if (strchr(config->urls.items[i], '@') != NULL)
            return true;
    return false;
}

static const char *credentials_advice(const struct nats_config *config, char *text, size_t size)
{
    char when[UNITS_TIME_TEXT];
    if (config->creds != NULL) {
        if (creds_expired(config->creds, when))
            snprintf(text, size, "the JWT in nats.creds, %s, expired at %s", config->creds, when);
        else
            snprintf(text, size, "check nats.creds, %s", config->creds);
        return text;
    }
    if (config->nkey_seed != NULL)
        return "check nats.nkey_seed";
    if (config->token != NULL)
        return "check nats.token";
    if (config->user != NULL)
        return "check nats.user and nats.password";
    if (url_has_credentials(config))
        return "check the user and password in nats.url";
    if (config->tls.cert != NULL)
        return "check nats.tls.cert";
    return "the server wants credentials: set nats.user and nats.password, nats.token, nats.creds "
           "or nats.nkey_seed";
}

natsStatus nats_connect(natsConnection **connection, natsOptions *options)
{
    natsStatus s = natsConnection_Connect(connection, options);
    for (int again = 0; s == NATS_CONNECTION_AUTH_FAILED && again < 2; again++)
        s = natsConnection_Connect(connection, options);
    return s;
}

int nats_connect_error(natsStatus status, const struct nats_config *config, struct error *err)
{
    char servers[256], advice[320];
    nats_config_servers(config, servers, sizeof(servers));
    const char *detail = last_detail();
    /* libnats reads it at each attempt, and says of what it cannot use neither name nor place. */
    if (config->creds != NULL && creds_check(config->creds, err) != 0)
        return error_prefix(err, "%s: nats.creds", servers);
    switch (status) {
    case NATS_CONNECTION_AUTH_FAILED:
        return error_set(err, "%s: authorization violation: %s", servers,
                         credentials_advice(config, advice, sizeof(advice)));
    case NATS_SSL_ERROR:
        return error_set(err, "%s: TLS failed (%s): %s", servers, detail,
                         config->tls.ca != NULL || !config->tls.verify
                             ? "check nats.tls"
                             : "check nats.tls; an authority of your own belongs in nats.tls.ca");
    case NATS_SECURE_CONNECTION_WANTED:
        return error_set(err,
                         "%s: the server does not offer TLS: remove nats.tls, or switch TLS "
                         "on in the server",
                         servers);
    case NATS_SECURE_CONNECTION_REQUIRED:
        return error_set(err, "%s: the server requires TLS: set nats.tls", servers);
    case NATS_NO_SERVER:
        return error_set(err, "%s: no server answers there", servers);
    case NATS_PROTOCOL_ERROR:
    case NATS_IO_ERROR:
    case NATS_CONNECTION_CLOSED:
        /* With TLS 1.3 the server looks at the client's certificate after the handshake, and hangs
         * up. What libnats makes of that depends on the version and the moment. */
        if (config->tls.enabled && config->tls.cert == NULL)
            return error_set(err,
                             "%s: the server hangs up; if it wants a client certificate: set "
                             "nats.tls.cert and nats.tls.key",
                             servers);
        if (config->tls.enabled)
            return error_set(err,
                             "%s: the server hangs up; perhaps it does not trust nats.tls.cert, %s",
                             servers, config->tls.cert);
        /* fall through */
    default:
        return error_set(err, "%s: %s%s%s", servers, natsStatus_GetText(status),
                         *detail != '\0' ? ": " : "", detail);
    }
}
