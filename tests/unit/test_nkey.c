#include "bus/nkey.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Made with an independent implementation (Python's base64 and the openssl command). */
static const char SEED[] = "SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776Y";
static const char PUBLIC[] = "UAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3RLKK";
static const char ACCOUNT_SEED[] = "SAAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4HYMHI";

static void test_the_public_key_is_derived_from_the_seed(void **state)
{
    (void)state;
    char key[NKEY_PUBLIC_SIZE];
    struct error err;
    assert_int_equal(nkey_public_of_seed(SEED, key, &err), 0);
    assert_string_equal(key, PUBLIC);
}

static void test_a_mistyped_letter_is_found_by_the_checksum(void **state)
{
    (void)state;
    char seed[sizeof(SEED)], key[NKEY_PUBLIC_SIZE];
    struct error err;
    for (size_t i = 2; i < sizeof(SEED) - 2; i++) {
        memcpy(seed, SEED, sizeof(SEED));
        seed[i] = seed[i] == 'A' ? 'B' : 'A';
        assert_int_equal(nkey_public_of_seed(seed, key, &err), -1);
        assert_non_null(strstr(err.text, "checksum"));
    }
}

static void test_other_text_is_no_seed(void **state)
{
    (void)state;
    char key[NKEY_PUBLIC_SIZE];
    struct error err;
    assert_int_equal(nkey_public_of_seed("", key, &err), -1);
    assert_int_equal(nkey_public_of_seed("SU", key, &err), -1);
    assert_int_equal(nkey_public_of_seed(PUBLIC, key, &err), -1);
    assert_non_null(strstr(err.text, "not an NKey seed"));
}

static void test_the_seed_of_an_account_is_refused(void **state)
{
    (void)state;
    char key[NKEY_PUBLIC_SIZE];
    struct error err;
    assert_int_equal(nkey_public_of_seed(ACCOUNT_SEED, key, &err), -1);
    assert_non_null(strstr(err.text, "SU"));
}

static int public_of_text(const char *text, char key[NKEY_PUBLIC_SIZE], struct error *err)
{
    char path[] = "/tmp/tidemill-nkey-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    int result = nkey_public_of_file(path, key, err);
    unlink(path);
    return result;
}

static void test_a_file_may_hold_the_seed_alone_or_between_markers(void **state)
{
    (void)state;
    char text[512], key[NKEY_PUBLIC_SIZE];
    struct error err;
    snprintf(text, sizeof(text), "%s\n", SEED);
    assert_int_equal(public_of_text(text, key, &err), 0);
    assert_string_equal(key, PUBLIC);
    snprintf(text, sizeof(text),
             "-----BEGIN USER NKEY SEED-----\n%s\n------END USER NKEY SEED------\n", SEED);
    assert_int_equal(public_of_text(text, key, &err), 0);
    assert_string_equal(key, PUBLIC);
}

static void test_a_text_is_signed_with_the_seed_in_a_file(void **state)
{
    (void)state;
    /* Made by `openssl pkeyutl -sign -rawin`. */
    static const unsigned char expected[NKEY_SIGNATURE_SIZE] = {
        0x14, 0x51, 0x7d, 0xdd, 0x2f, 0xe1, 0x8e, 0xf8, 0x71, 0x43, 0xe4, 0x4c, 0x2a,
        0x49, 0x0d, 0x33, 0x4f, 0x08, 0x91, 0xdd, 0x37, 0xd5, 0xa4, 0xe8, 0xe4, 0x5d,
        0xcf, 0x2a, 0x9d, 0x9c, 0x11, 0xce, 0xe1, 0xfb, 0x9f, 0xdd, 0x77, 0x0e, 0x9e,
        0xcd, 0xc2, 0xeb, 0x05, 0xd4, 0x33, 0x06, 0x52, 0x09, 0x85, 0x21, 0x0b, 0x0c,
        0x11, 0x15, 0x6c, 0xe5, 0xf8, 0x49, 0x5b, 0x86, 0x73, 0xe5, 0xb6, 0x04,
    };
    unsigned char signature[NKEY_SIGNATURE_SIZE];
    char path[] = "/tmp/tidemill-nkey-XXXXXX";
    struct error err = {""};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_true(dprintf(fd, "\r\n %s \r\n", SEED) > 0);
    close(fd);
    int result = nkey_sign_by_file(path, "PXoWU7zfAN3LI5M", signature, &err);
    remove(path);
    assert_int_equal(result, 0);
    assert_memory_equal(signature, expected, sizeof(expected));
    assert_int_equal(nkey_sign_by_file(path, "x", signature, &err), -1);
    assert_non_null(strstr(err.text, path));
}

static void test_errors_name_the_file(void **state)
{
    (void)state;
    char key[NKEY_PUBLIC_SIZE];
    struct error err;
    assert_int_equal(nkey_public_of_file("/nowhere/seed.nk", key, &err), -1);
    assert_string_equal(err.text, "cannot read /nowhere/seed.nk: No such file or directory");
    assert_int_equal(public_of_text("nothing here\n", key, &err), -1);
    assert_non_null(strstr(err.text, "/tmp/tidemill-nkey-"));
    assert_int_equal(public_of_text("SUAMISTYPED\n", key, &err), -1);
    assert_non_null(strstr(err.text, "/tmp/tidemill-nkey-"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_public_key_is_derived_from_the_seed),
        cmocka_unit_test(test_a_mistyped_letter_is_found_by_the_checksum),
        cmocka_unit_test(test_other_text_is_no_seed),
        cmocka_unit_test(test_the_seed_of_an_account_is_refused),
        cmocka_unit_test(test_a_file_may_hold_the_seed_alone_or_between_markers),
        cmocka_unit_test(test_a_text_is_signed_with_the_seed_in_a_file),
        cmocka_unit_test(test_errors_name_the_file),
    };
    return cmocka_run_group_tests_name("nkey", tests, NULL, NULL);
}
