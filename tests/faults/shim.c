/* Lets the n-th file operation below a folder fail, or kills the process there. Loaded with LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char below[4096];
static long calls, target = -1;
static int number; /* errno of the failure; 0: SIGKILL */
static char ours[65536]; /* descriptors of files below the folder */

void fault_arm(const char *folder, long at, int error) {
  strncpy(below, folder, sizeof below - 1);
  calls = 0, target = at, number = error;
}

long fault_calls(void) { return calls; }

static int fails(int is_ours) {
  if (!below[0] || !is_ours) return 0;
  if (++calls != target) return 0;
  if (!number) kill(getpid(), SIGKILL);
  errno = number;
  return 1;
}

static int path_is_ours(const char *path) {
  return path && below[0] && strncmp(path, below, strlen(below)) == 0;
}

static int fd_is_ours(int fd) { return fd >= 0 && fd < (int)sizeof ours && ours[fd]; }

static int opened(int fd, const char *path) {
  if (fd >= 0 && fd < (int)sizeof ours) ours[fd] = path_is_ours(path);
  return fd;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPEN(name)                                             \
  int name(const char *path, int flags, ...) {                 \
    va_list rest;                                              \
    va_start(rest, flags);                                     \
    mode_t mode = va_arg(rest, mode_t);                        \
    va_end(rest);                                              \
    if (fails(path_is_ours(path))) return -1;                  \
    return opened(REAL(name)(path, flags, mode), path);        \
  }
OPEN(open)
OPEN(open64)

#define ON_FD(type, name, arguments, values)                   \
  type name arguments {                                        \
    if (fails(fd_is_ours(fd))) return -1;                      \
    return REAL(name) values;                                  \
  }
ON_FD(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
ON_FD(ssize_t, writev, (int fd, const struct iovec *data, int count), (fd, data, count))
ON_FD(int, fsync, (int fd), (fd))
ON_FD(int, ftruncate64, (int fd, off64_t size), (fd, size))
ON_FD(int, flock, (int fd, int how), (fd, how))
ON_FD(ssize_t, read, (int fd, void *data, size_t size), (fd, data, size))

#define ON_PATH(name, arguments, values)                       \
  int name arguments {                                         \
    if (fails(path_is_ours(path))) return -1;                  \
    return REAL(name) values;                                  \
  }
ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode))
ON_PATH(rmdir, (const char *path), (path))
ON_PATH(unlink, (const char *path), (path))
ON_PATH(rename, (const char *path, const char *to), (path, to))
ON_PATH(chmod, (const char *path, mode_t mode), (path, mode))
