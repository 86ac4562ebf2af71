/* What libusb's configure would find on Linux with glibc or musl, for the ten files that image/libusb/build compiles. */
#define _GNU_SOURCE 1
#define DEFAULT_VISIBILITY __attribute__((visibility("default")))
#define PRINTF_FORMAT(a, b) __attribute__((__format__(__printf__, a, b)))
#define PLATFORM_POSIX 1
#define ENABLE_LOGGING 1
#define HAVE_ASM_TYPES_H 1
#define HAVE_SYS_TIME_H 1
#define HAVE_NFDS_T 1
#define HAVE_CLOCK_GETTIME 1
#define HAVE_PIPE2 1
#define HAVE_EVENTFD 1
#define HAVE_TIMERFD 1
#define HAVE_DECL_EFD_CLOEXEC 1
#define HAVE_DECL_EFD_NONBLOCK 1
#define HAVE_DECL_TFD_CLOEXEC 1
#define HAVE_DECL_TFD_NONBLOCK 1
#define HAVE_PTHREAD_CONDATTR_SETCLOCK 1
#define HAVE_PTHREAD_SETNAME_NP 1
