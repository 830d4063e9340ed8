#include "faults.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "process.h"

/*
 * The process has several connections to one server. Each of them is cut while the others stand and
 * the work goes on: it is there again soon, and every input has one output.
 */

enum { INPUTS = 1600, BEFORE = 100, SOCKETS_MAX = 16, RETURN_MS = 5000 };

struct sockets {
    ino_t inodes[SOCKETS_MAX];
    size_t count;
};

/* A copy of the descriptor of another process; -1: it has none such, or it may not be looked at. */
static int copy_descriptor(struct process *mill, int number)
{
    int process = (int)syscall(SYS_pidfd_open, process_id(mill), 0);
    if (process < 0)
        return -1;
    int copy = (int)syscall(SYS_pidfd_getfd, process, number, 0);
    close(process);
    return copy;
}

static bool leads_to_server(struct harness *h, int descriptor)
{
    struct sockaddr_in peer = {.sin_family = AF_UNSPEC};
    socklen_t size = sizeof(peer);
    return getpeername(descriptor, (struct sockaddr *)&peer, &size) == 0 &&
           peer.sin_family == AF_INET && ntohs(peer.sin_port) == harness_port(h);
}

static bool is_in(const struct sockets *sockets, ino_t inode)
{
    for (size_t i = 0; i < sockets->count; i++) {
        if (sockets->inodes[i] == inode)
            return true;
    }
    return false;
}

/* The process' connections to the server; `cut` not 0: shuts that one down. */
static struct sockets connections(struct harness *h, struct process *mill, ino_t cut)
{
    struct sockets found = {.count = 0};
    char folder[64];
    snprintf(folder, sizeof(folder), "/proc/%d/fd", (int)process_id(mill));
    DIR *directory = opendir(folder);
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        struct stat status;
        int copy = copy_descriptor(mill, atoi(entry->d_name));
        if (copy >= 0 && fstat(copy, &status) == 0 && leads_to_server(h, copy) &&
            !is_in(&found, status.st_ino) && found.count < SOCKETS_MAX) {
            found.inodes[found.count++] = status.st_ino;
            if (status.st_ino == cut)
                assert_int_equal(shutdown(copy, SHUT_RDWR), 0);
        }
        if (copy >= 0)
            close(copy);
    }
    closedir(directory);
    return found;
}

/* Waits until the connection is gone and there are as many as before. */
static void wait_until_replaced(struct harness *h, struct process *mill, ino_t cut, size_t count)
{
    int64_t deadline_ns = harness_deadline(RETURN_MS);
    for (;;) {
        struct sockets now = connections(h, mill, 0);
        if (now.count == count && !is_in(&now, cut))
            return;
        if (clock_monotonic_ns() > deadline_ns)
            harness_fail(h, "%zu connections of %zu after one was cut", now.count, count);
        faults_pause(5);
    }
}

static void test_each_connection_is_replaced_when_it_is_cut(struct harness *h)
{
    faults_job(h, "batch = 50", "mill.sleep(0.001)");
    struct process *mill = faults_start(h);
    size_t count = connections(h, mill, 0).count;
    assert_int_equal(count, 3); /* the supervisor's, the worker's intake and outlet */
    faults_feed(h, 0, INPUTS);
    faults_wait_outputs(h, BEFORE);

    for (size_t i = 0; i < count; i++) {
        struct sockets now = connections(h, mill, 0);
        uint64_t delivered = faults_delivered(mill);
        connections(h, mill, now.inodes[i]);
        wait_until_replaced(h, mill, now.inodes[i], count);
        faults_wait_delivery(mill, delivered, RETURN_MS);
    }
    faults_check_all(h, INPUTS);
    /* What is made anew takes the descriptors of before, so each has had its turn. */
    assert_int_equal(harness_log_count(mill, "worker 1: disconnected from NATS"), 2);
    assert_int_equal(harness_log_count(mill, "worker 1: connected again"), 2);
    harness_wait_http(mill, "/readyz", 200, RETURN_MS);
    harness_stop(mill, FAULTS_PATIENCE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_each_connection_is_replaced_when_it_is_cut),
    };
    return cmocka_run_group_tests_name("cut_connections", tests, NULL, NULL);
}
