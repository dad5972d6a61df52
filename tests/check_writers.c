/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Tests of the one writer of files and of the lock of a folder (base/file.h).
 */

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/common.h"
#include "base/file.h"

static char folder[64];
static char message[2048];
static int messages;

static void catch_line(void *opaque, int level, const char *line)
{
    (void)opaque, (void)level;
    snprintf(message, sizeof(message), "%s", line);
    messages++;
}

static const LvMsg catcher = { catch_line, NULL, LV_MSG_WARNING };

static void setup(void)
{
    strcpy(folder, "/tmp/linvideo-writers-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    messages = 0;
}

static void teardown(void)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static const char *path_of(const char *name)
{
    static char path[4][512];
    static int turn;

    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof(path[turn]), "%s/%s", folder, name);
    return path[turn];
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(path_of(name), "w");

    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

static void expect_text(const char *name, const char *text)
{
    char has[256] = "";
    FILE *f = fopen(path_of(name), "r");

    ck_assert_msg(f != NULL, "%s is not there", name);
    has[fread(has, 1, sizeof(has) - 1, f)] = '\0';
    fclose(f);
    ck_assert_str_eq(has, text);
}

static void expect_error(int ret, int code, const char *part)
{
    ck_assert_int_eq(ret, code);
    ck_assert_msg(messages == 1 && strstr(message, part), "%d messages, the last: %s",
                  messages, message);
    messages = 0;
}

/* Number of entries of the folder whose name begins so. */
static int count(const char *begin)
{
    DIR *d = opendir(folder);
    struct dirent *e;
    int nb = 0;

    while ((e = readdir(d)))
        nb += !strncmp(e->d_name, begin, strlen(begin));
    closedir(d);
    return nb;
}

static int write_text(const char *name, const char *text)
{
    return lv_file_write(path_of(name), text, strlen(text), &catcher);
}

/* --- a file is whole or not there --- */

START_TEST(test_whole)
{
    LvFile f;

    put("f", "old");
    ck_assert_int_eq(lv_file_create(&f, path_of("f"), &catcher), 0);
    lv_file_put(&f, "new", 3);
    lv_file_print(&f, " %d", 7);
    expect_text("f", "old");
    ck_assert_int_eq(count(".part-"), 1);
    ck_assert_int_eq(lv_file_sync(&f), 0);
    ck_assert_int_eq(access(f.tmp, R_OK), 0);
    expect_text("f", "old");
    ck_assert_int_eq(lv_file_finish(&f, &catcher), 0);
    ck_assert_uint_eq(f.size, 5);
    expect_text("f", "new 7");
    ck_assert_int_eq(lv_file_create(&f, path_of("f"), &catcher), 0);
    lv_file_put(&f, "other", 5);
    lv_file_abandon(&f);
    expect_text("f", "new 7");
    ck_assert_int_eq(count("."), 2);
    ck_assert_int_eq(messages, 0);
}
END_TEST

START_TEST(test_large)
{
    enum { SIZE = 200000 };
    uint8_t *data = malloc(SIZE), *again = calloc(1, 3 * SIZE);
    LvFile f;
    FILE *in;

    for (int i = 0; i < SIZE; i++)
        data[i] = (uint8_t)(i * 7 + i / 251 + 1);
    ck_assert_int_eq(lv_file_create(&f, path_of("f"), &catcher), 0);
    for (int i = 0, n; i < SIZE; i += n) {
        n = LV_MIN(1 + i % 1777, SIZE - i);
        lv_file_put(&f, data + i, (size_t)n);
    }
    lv_file_hole(&f, SIZE);
    lv_file_put(&f, data, SIZE);
    ck_assert_int_eq(lv_file_finish(&f, &catcher), 0);
    ck_assert_uint_eq(f.size, 3 * SIZE);
    in = fopen(path_of("f"), "r");
    ck_assert_uint_eq(fread(again, 1, 3 * SIZE, in), 3 * SIZE);
    fclose(in);
    ck_assert(!memcmp(again, data, SIZE) && !memcmp(again + 2 * SIZE, data, SIZE));
    for (int i = SIZE; i < 2 * SIZE; i++)
        if (again[i])
            ck_abort_msg("byte %d of the hole is %d", i - SIZE, again[i]);
    free(data);
    free(again);
}
END_TEST

START_TEST(test_full)
{
    const struct rlimit limit = { 1000, RLIM_INFINITY };
    static char big[5000];
    int ret;

    put("f", "old");
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    ret = lv_file_write(path_of("f"), big, sizeof(big), &catcher);
    expect_error(ret, -EFBIG, "f: File too large");
    expect_text("f", "old");
    ck_assert_int_eq(count(".part-"), 0);
}
END_TEST

/* --- what may be at a path --- */

START_TEST(test_links)
{
    put("f", "old");
    ck_assert_int_eq(symlink("f", path_of("g")), 0);
    ck_assert_int_eq(symlink(path_of("g"), path_of("h")), 0);
    ck_assert_int_eq(symlink("sub/none", path_of("dangling")), 0);
    ck_assert_int_eq(symlink("round", path_of("round")), 0);
    ck_assert_int_eq(write_text("h", "new"), 0);
    expect_text("f", "new");
    ck_assert_int_eq(count("g") + count("h"), 2);
    ck_assert_int_eq(mkdir(path_of("sub"), 0777), 0);
    ck_assert_int_eq(write_text("dangling", "new"), 0);
    expect_text("sub/none", "new");
    expect_error(write_text("round", "new"), -ELOOP, "round: ");
    ck_assert(lv_file_same(path_of("f"), path_of("h")));
    ck_assert_int_eq(link(path_of("f"), path_of("hard")), 0);
    ck_assert(lv_file_same(path_of("h"), path_of("hard")));
    ck_assert(!lv_file_same(path_of("f"), path_of("sub/none")));
    ck_assert(!lv_file_same(path_of("nothing"), path_of("nothing")));
}
END_TEST

START_TEST(test_refused)
{
    char name[300];

    ck_assert_int_eq(mkfifo(path_of("pipe"), 0666), 0);
    ck_assert_int_eq(mkdir(path_of("sub"), 0777), 0);
    expect_error(write_text("pipe", "x"), -EINVAL, "pipe: expected a regular file");
    expect_error(write_text("sub", "x"), -EISDIR, "sub: Is a directory");
    expect_error(write_text("new/", "x"), -EISDIR, "new/: Is a directory");
    expect_error(write_text("none/f", "x"), -ENOENT, "none/f: No such file");
    expect_error(lv_file_write("/dev/null", "x", 1, &catcher), -EINVAL, "/dev/null");
    memset(name, 'n', 250);
    name[250] = '\0';
    ck_assert_int_eq(write_text(name, "long"), 0);
    expect_text(name, "long");
    ck_assert_int_eq(count(".part-"), 0);
}
END_TEST

START_TEST(test_streams)
{
    static const char *const gone[] = { "/dev/full", "none/f" };
    char has[8] = "";
    LvFile f;
    pid_t child;
    int fd;

    ck_assert_int_eq(mkfifo(path_of("pipe"), 0666), 0);
    if (!(child = fork())) {
        int ret = lv_file_output(&f, path_of("pipe"), &catcher);
        lv_file_put(&f, "abc", 3);
        lv_file_hole(&f, 2);
        _exit(ret || lv_file_finish(&f, &catcher));
    }
    fd = open(path_of("pipe"), O_RDONLY);
    for (ssize_t n, at = 0; (n = read(fd, has + at, sizeof(has) - (size_t)at)) > 0;)
        at += n;
    close(fd);
    waitpid(child, &fd, 0);
    ck_assert_int_eq(fd, 0);
    ck_assert(!memcmp(has, "abc\0\0\0", 6));
    ck_assert_int_eq(lv_file_output(&f, gone[0], &catcher), 0);
    lv_file_put(&f, "abc", 3);
    ck_assert_int_eq(lv_file_flush(&f), -ENOSPC);
    expect_error(lv_file_finish(&f, &catcher), -ENOSPC, "/dev/full: No space");
    expect_error(lv_file_output(&f, gone[1], &catcher), -ENOENT, "none/f");
}
END_TEST

/* --- modes --- */

static int mode_of(const char *name)
{
    struct stat st;

    ck_assert_int_eq(stat(path_of(name), &st), 0);
    return (int)(st.st_mode & 07777);
}

START_TEST(test_modes)
{
    umask(027);
    ck_assert_int_eq(write_text("f", "x"), 0);
    ck_assert_int_eq(mode_of("f"), 0640);
    ck_assert_int_eq(chmod(path_of("f"), 0600), 0);
    ck_assert_int_eq(write_text("f", "y"), 0);
    ck_assert_int_eq(mode_of("f"), 0600);
    ck_assert_int_eq(chmod(path_of("f"), 0400), 0);
    if (!geteuid())
        return; /* root writes anything */
    expect_error(write_text("f", "z"), -EACCES, "f: Permission denied");
    expect_text("f", "y");
}
END_TEST

/* --- parts that are left --- */

START_TEST(test_strays)
{
    LvFile mine;
    pid_t child = fork();
    int status;

    if (!child) {
        lv_file_create(&mine, path_of("f"), NULL);
        raise(SIGKILL);
    }
    waitpid(child, &status, 0);
    ck_assert_int_eq(count(".part-"), 1);
    put(".part-0123456789ab-g", "of another file");
    put(".part-0123456789a-f", "of none");
    ck_assert_int_eq(symlink("g", path_of(".part-0123456789ab-f")), 0);
    ck_assert_int_eq(mkfifo(path_of(".part-0123456789ac-f"), 0666), 0);
    ck_assert_int_eq(mkdir(path_of(".part-0123456789ad-f"), 0777), 0);
    ck_assert_int_eq(lv_file_create(&mine, path_of("f"), &catcher), 0);
    ck_assert_int_eq(count(".part-"), 6); /* a part, and all but the stray */
    ck_assert_int_eq(write_text("f", "another's"), 0);
    ck_assert_int_eq(access(mine.tmp, F_OK), 0);
    lv_file_put(&mine, "mine", 4);
    ck_assert_int_eq(lv_file_finish(&mine, &catcher), 0);
    expect_text("f", "mine");
    ck_assert_int_eq(count(".part-"), 5);
}
END_TEST

/* Two who write one file: that of one of them is there, whole. */
START_TEST(test_two_writers)
{
    enum { WRITERS = 4, SIZE = 100000 };
    static char text[SIZE];
    int status, good = 0, c;
    FILE *f;

    for (int i = 0; i < WRITERS; i++)
        if (!fork()) {
            memset(text, 'a' + i, SIZE);
            for (int k = 0; k < 20; k++)
                if (lv_file_write(path_of("f"), text, SIZE, NULL) < 0)
                    _exit(1);
            _exit(0);
        }
    for (int i = 0; i < WRITERS; i++) {
        wait(&status);
        ck_assert_int_eq(status, 0);
    }
    f = fopen(path_of("f"), "r");
    c = getc(f);
    for (good = 1; getc(f) == c;)
        good++;
    fclose(f);
    ck_assert_int_eq(good, SIZE);
    ck_assert_int_eq(count(".part-"), 0);
}
END_TEST

/* --- locks --- */

START_TEST(test_lock)
{
    int lock, status, ends[2];
    char c;
    pid_t child;

    ck_assert_int_eq(pipe(ends), 0);
    if (!(child = fork())) {
        lv_lock_folder(&lock, folder, NULL);
        c = (char)write(ends[1], "x", 1);
        pause();
    }
    ck_assert_int_eq(read(ends[0], &c, 1), 1);
    expect_error(lv_lock_folder(&lock, folder, &catcher), -EBUSY, "uses this folder");
    ck_assert_int_eq(atoi(strstr(message, "process") + 8), child);
    ck_assert_int_eq(lock, -1);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    ck_assert_int_eq(lv_lock_folder(&lock, folder, &catcher), 0);
    lv_lock_free(&lock);
    ck_assert_int_eq(lock, -1);
}
END_TEST

START_TEST(test_lock_refused)
{
    int lock;

    put("victim", "x");
    ck_assert_int_eq(symlink("victim", path_of(".lock")), 0);
    expect_error(lv_lock_folder(&lock, folder, &catcher), -ELOOP, ".lock: ");
    ck_assert_int_eq(unlink(path_of(".lock")), 0);
    ck_assert_int_eq(mkfifo(path_of(".lock"), 0666), 0);
    expect_error(lv_lock_folder(&lock, folder, &catcher), -EINVAL, "a regular file");
    expect_error(lv_lock_folder(&lock, path_of("none"), &catcher), -ENOENT, "none/.lock");
    expect_text("victim", "x");
}
END_TEST

int main(void)
{
    Suite *s   = suite_create("writers");
    TCase *tc  = tcase_create("file");
    SRunner *r = srunner_create(s);
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_whole);
    tcase_add_test(tc, test_large);
    tcase_add_test(tc, test_full);
    tcase_add_test(tc, test_links);
    tcase_add_test(tc, test_refused);
    tcase_add_test(tc, test_streams);
    tcase_add_test(tc, test_modes);
    tcase_add_test(tc, test_strays);
    tcase_add_test(tc, test_two_writers);
    suite_add_tcase(s, tc);
    tc = tcase_create("lock");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_lock);
    tcase_add_test(tc, test_lock_refused);
    suite_add_tcase(s, tc);
    srunner_run_all(r, CK_NORMAL);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
