/* test_file.c - a file that is replaced whole, whatever ends the one who
 * writes.
 *
 * SPDX-License-Identifier: MIT */
#include "support/util.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[64];

/* These two stand before the C library's: a child dies before or after one of
 * its calls, by a signal that nothing can be done about. */
static int moment, die_at;

static void pass(void) {
  if (++moment == die_at) {
    kill(getpid(), SIGKILL);
  }
}

int fsync(int fd) {
  pass();
  long rv = syscall(SYS_fsync, fd);
  pass();
  return (int)rv;
}

int rename(const char *from, const char *to) {
  pass();
  long rv = syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
  pass();
  return (int)rv;
}

static int setup(void **state) {
  (void)state;
  snprintf(path, sizeof(path), "/tmp/antquic-file-%ld", (long)getpid());
  return 0;
}

static int teardown(void **state) {
  (void)state;
  char part[80];
  snprintf(part, sizeof(part), "%s.part", path);
  unlink(part);
  return unlink(path) == 0 ? 0 : -1;
}

static void replace(const char *text) {
  char why[256];
  assert_int_equal(aq_file_replace(path, (const uint8_t *)text, strlen(text),
                                   why, sizeof(why)),
                   0);
}

static void holds(const char *text) {
  char got[4096];
  struct stat st;
  FILE *f = fopen(path, "rb");
  assert_non_null(f);
  size_t n = fread(got, 1, sizeof(got) - 1, f);
  fclose(f);
  got[n] = 0;
  assert_string_equal(got, text);
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0600);
}

/* The system kills a child at each byte of its write. */
static void a_writer_that_is_killed_leaves_the_old_file(void **state) {
  (void)state;
  static const char old[] = "what was there\n",
                    new[] = "what should be there\n";
  for (size_t len = 0; len <= sizeof(new) - 1; len++) {
    replace(old);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
      struct rlimit limit = {len, len};
      struct rlimit no_core = {0, 0};
      char why[256];
      signal(SIGXFSZ, SIG_DFL);
      setrlimit(RLIMIT_CORE, &no_core);
      setrlimit(RLIMIT_FSIZE, &limit);
      int rv = aq_file_replace(path, (const uint8_t *)new, sizeof(new) - 1, why,
                               sizeof(why));
      _exit(rv == 0 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (len < sizeof(new) - 1) {
      assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ);
      holds(old);
    } else {
      assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
      holds(new);
    }
    replace(new); /* and what it left behind is in nobody's way */
    holds(new);
  }
}

static void a_folder_that_is_not_there_is_told(void **state) {
  (void)state;
  char why[256] = "";
  assert_int_equal(aq_file_replace("/nonexistent/x", (const uint8_t *)"y", 1,
                                   why, sizeof(why)),
                   AQ_ERR_NETWORK);
  assert_non_null(strstr(why, "/nonexistent/x"));
}

/* Killed around its fsync, its rename, and the fsync of the folder: what is
 * there is whole, either the old or the new, and the next writer isn't in the
 * way of what is left over. */
static void a_writer_that_is_killed_between_two_calls(void **state) {
  (void)state;
  static const char old[] = "what was there\n",
                    new[] = "what should be there\n";
  char part[80];
  snprintf(part, sizeof(part), "%s.part", path);
  for (int at = 1; at <= 6; at++) {
    replace(old);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
      moment = 0;
      die_at = at;
      char why[256];
      (void)aq_file_replace(path, (const uint8_t *)new, strlen(new), why,
                            sizeof(why));
      _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    holds(at <= 3 ? old : new);
    assert_int_equal(access(part, F_OK), at <= 3 ? 0 : -1);
    replace(new);
    holds(new);
    assert_int_equal(access(part, F_OK), -1);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(
          a_writer_that_is_killed_leaves_the_old_file, setup, teardown),
      cmocka_unit_test_setup_teardown(a_writer_that_is_killed_between_two_calls,
                                      setup, teardown),
      cmocka_unit_test(a_folder_that_is_not_there_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
