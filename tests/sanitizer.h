#ifndef TESTS_SANITIZER_H
#define TESTS_SANITIZER_H

/*
 * What tests that measure must know of their build. AddressSanitizer keeps freed memory for a
 * while, and rules run some two to four times slower; under ThreadSanitizer and memcheck memory
 * tells nothing at all, and they run some ten or twenty times slower. Limits of time grow by
 * SLOWNESS, random cases become fewer by it.
 * `make valgrind` defines MEMCHECK, `make gcstress` GC_STRESS, the compiler the others.
 */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(MEMCHECK)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

#ifdef MEMCHECK
enum { UNDER_MEMCHECK = 1 };
#else
enum { UNDER_MEMCHECK = 0 };
#endif

#ifdef GC_STRESS
enum { UNDER_GC_STRESS = 1, MEMORY_TELLS = 0, SLOWNESS = 200 };
#elif defined(__SANITIZE_THREAD__) || defined(MEMCHECK)
enum { UNDER_GC_STRESS = 0, MEMORY_TELLS = 0, SLOWNESS = 20 };
#elif defined(__SANITIZE_ADDRESS__) || defined(COVERAGE) /* which counts lines */
enum { UNDER_GC_STRESS = 0, MEMORY_TELLS = 1, SLOWNESS = 4 };
#else
enum { UNDER_GC_STRESS = 0, MEMORY_TELLS = 1, SLOWNESS = 1 };
#endif

#endif
