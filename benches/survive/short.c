/* An LD_PRELOAD shim: a stream is received from and sent to in pieces of 1 to 7 bytes, and some calls fail with EINTR
 * or EAGAIN although they need not.
 *
 * All of it is what a kernel may do to an edge-triggered program, because each piece and each needless EAGAIN is
 * followed by an edge: EPOLL_CTL_MOD has epoll look again at the socket, and report what it is ready for. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DESCRIPTORS 65536

/* What the program watches; `epoll` is the descriptor plus one, 0 where nothing is watched. */
static struct {
    int epoll;
    struct epoll_event event;
} watched[DESCRIPTORS];

static unsigned dice(unsigned sides) {
    static unsigned state = 20240917;
    state = state * 1103515245 + 12345;
    return (state >> 16) % sides;
}

static int is_stream(int fd) {
    int type = 0;
    socklen_t size = sizeof type;
    return fd >= 0 && fd < DESCRIPTORS && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

static void raise_edge(int fd) {
    int saved = errno;
    if (watched[fd].epoll)
        syscall(SYS_epoll_ctl, watched[fd].epoll - 1, EPOLL_CTL_MOD, fd, &watched[fd].event);
    errno = saved;
}

/* Whether a call fails without having been made; errno says how. */
static int fails(int fd) {
    unsigned cast = dice(16);
    if (cast > 1)
        return 0;
    errno = cast ? EINTR : EAGAIN;
    if (!cast)
        raise_edge(fd);
    return 1;
}

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) {
    int result = syscall(SYS_epoll_ctl, epoll, operation, fd, event);
    if (result == 0 && fd >= 0 && fd < DESCRIPTORS) {
        watched[fd].epoll = operation == EPOLL_CTL_DEL ? 0 : epoll + 1;
        if (event)
            watched[fd].event = *event;
    }
    return result;
}

ssize_t recv(int fd, void *bytes, size_t size, int flags) {
    int shortens = !(flags & MSG_PEEK) && is_stream(fd);
    if (shortens && fails(fd))
        return -1;
    size_t most = shortens ? 1 + dice(7) : size;
    ssize_t count = syscall(SYS_recvfrom, fd, bytes, size < most ? size : most, flags, NULL, NULL);
    if (shortens && count > 0)
        raise_edge(fd);
    return count;
}

ssize_t send(int fd, const void *bytes, size_t size, int flags) {
    int shortens = is_stream(fd);
    if (shortens && fails(fd))
        return -1;
    size_t most = shortens ? 1 + dice(7) : size;
    ssize_t count = syscall(SYS_sendto, fd, bytes, size < most ? size : most, flags, NULL, 0);
    if (shortens && count > 0)
        raise_edge(fd);
    return count;
}
