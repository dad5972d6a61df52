/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/share/server.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/common.h"
#include "base/file.h"
#include "tools/share/message.h"
#include "tools/share/signals.h"

enum { PEERS = 64, PATIENCE = 10 /* seconds */ };

struct LvPeer {
    int in, out;
    atomic_int kept, gone;
    double patience;      ///< seconds that one who takes nothing is waited for
    int ended;            ///< nothing more comes
    int skip;             ///< the rest of a line that was too long
    pthread_mutex_t lock; ///< of writing
    char *text;           ///< [LV_SERVER_LINE]
    size_t held;
};

struct LvServer {
    char *path;           ///< of the socket; NULL: standard input
    struct stat made;     ///< the socket's file
    int listener;         ///< -1: none
    LvPeer *peer[PEERS];
    int nb;
};

/* Peers */

static LvPeer *new_peer(int in, int out, double patience)
{
    LvPeer *p = calloc(1, sizeof(*p));

    if (!p || !(p->text = malloc(LV_SERVER_LINE))) {
        free(p);
        lv_tool_fail(0, "out of memory for a connection");
        return NULL;
    }
    p->in       = in;
    p->out      = out;
    p->kept     = 1;
    p->patience = patience;
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

void lv_peer_keep(LvPeer *p)
{
    atomic_fetch_add(&p->kept, 1);
}

void lv_peer_drop(LvPeer *p)
{
    if (atomic_fetch_sub(&p->kept, 1) > 1)
        return;
    if (p->in != STDIN_FILENO)
        close(p->in);
    pthread_mutex_destroy(&p->lock);
    free(p->text);
    free(p);
}

static int send_all(const LvPeer *p, const char *bytes, size_t nb)
{
    while (nb) {
        int ret   = lv_file_wait(p->out, p->patience, lv_signals_came);
        ssize_t n = ret < 0 ? 0 : write(p->out, bytes, LV_MIN(nb, LV_FILE_PIECE));

        if (ret < 0 || (n < 0 && errno != EINTR))
            return ret < 0 ? ret : -errno;
        if (n > 0) {
            bytes += n;
            nb    -= (size_t)n;
        }
    }
    return 0;
}

void lv_peer_say(LvPeer *p, const char *line)
{
    pthread_mutex_lock(&p->lock);
    if (!p->gone &&
        (send_all(p, line, strlen(line)) < 0 || send_all(p, "\n", 1) < 0)) {
        p->gone = 1;
        lv_tool_fail(0, "who sent a job reads no answers any more; the job goes on");
    }
    pthread_mutex_unlock(&p->lock);
}

int lv_peer_is_there(const LvPeer *p)
{
    return !p->gone;
}

/* Opening */

/* Whether the file at a path is a socket that nobody listens at. */
static int is_left_over(const struct sockaddr_un *at)
{
    struct stat st;
    int s, left;

    if (lstat(at->sun_path, &st) || !S_ISSOCK(st.st_mode))
        return 0;
    s    = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    left = s >= 0 && connect(s, (const struct sockaddr *)at, sizeof(*at)) < 0 &&
           errno == ECONNREFUSED;
    if (s >= 0)
        close(s);
    return left;
}

static int bind_listener(LvServer *s, const struct sockaddr_un *at)
{
    mode_t mask;
    int ret;

    if (is_left_over(at))
        unlink(at->sun_path);
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->listener < 0)
        return -errno;
    mask = umask(0177);
    ret  = bind(s->listener, (const struct sockaddr *)at, sizeof(*at));
    umask(mask);
    if (ret < 0)
        return -errno;
    s->path = strdup(at->sun_path);
    if (stat(at->sun_path, &s->made) < 0)
        return -errno;
    return !s->path ? -ENOMEM : listen(s->listener, PEERS) < 0 ? -errno : 0;
}

static int open_socket(LvServer *s, const char *path)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int ret;

    if (!*path)
        return lv_tool_fail(-EINVAL, "expected - or the path of a socket, got \"\"");
    if (strlen(path) >= sizeof(at.sun_path))
        return lv_tool_fail(-EINVAL, "%s: expected a path of at most %zu bytes", path,
                            sizeof(at.sun_path) - 1);
    strcpy(at.sun_path, path);
    if ((ret = bind_listener(s, &at)) < 0)
        lv_tool_fail(0, "%s: %s", path, strerror(-ret));
    return ret;
}

int lv_server_open(LvServer **out, const char *where)
{
    LvServer *s = *out = calloc(1, sizeof(*s));
    int ret = 0;

    if (!s)
        return lv_tool_fail(-ENOMEM, "out of memory");
    signal(SIGPIPE, SIG_IGN);
    s->listener = -1;
    if (strcmp(where, "-"))
        ret = open_socket(s, where);
    else if (!(s->peer[s->nb++] = new_peer(STDIN_FILENO, STDOUT_FILENO, INFINITY)))
        ret = -ENOMEM;
    if (ret < 0)
        lv_server_close(out);
    return ret;
}

void lv_server_close(LvServer **out)
{
    LvServer *s = *out;
    struct stat now;

    *out = NULL;
    if (!s)
        return;
    for (int i = 0; i < s->nb; i++)
        if (s->peer[i])
            lv_peer_drop(s->peer[i]);
    if (s->listener >= 0)
        close(s->listener);
    if (s->path && !stat(s->path, &now) && now.st_ino == s->made.st_ino &&
        now.st_dev == s->made.st_dev)
        unlink(s->path);
    free(s->path);
    free(s);
}

/* Lines */

static void accept_peer(LvServer *s)
{
    int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
    LvPeer *p;

    if (fd < 0)
        return;
    if (!(p = new_peer(fd, fd, PATIENCE)))
        close(fd);
    else
        s->peer[s->nb++] = p;
}

/* Hand on the whole lines that are held; at the end also what has no end of line. */
static void hand_on(LvPeer *p, LvServerLine *line, void *opaque)
{
    char *from = p->text, *end;

    while ((end = memchr(from, '\n', p->held - (size_t)(from - p->text)))) {
        *end = 0;
        if (!p->skip)
            line(opaque, p, from, (size_t)(end - from));
        p->skip = 0;
        from    = end + 1;
    }
    p->held -= (size_t)(from - p->text);
    memmove(p->text, from, p->held);
    if (p->held == LV_SERVER_LINE - 1) {
        if (!p->skip)
            line(opaque, p, NULL, 0);
        p->skip = 1;
        p->held = 0;
    }
    if (p->ended && p->held && !p->skip) {
        p->text[p->held] = 0;
        line(opaque, p, p->text, p->held);
    }
}

static void read_peer(LvPeer *p, LvServerLine *line, void *opaque)
{
    ssize_t n = read(p->in, p->text + p->held, LV_SERVER_LINE - 1 - p->held);

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    p->ended = n <= 0;
    p->held += n > 0 ? (size_t)n : 0;
    hand_on(p, line, opaque);
}

static void drop_ended(LvServer *s)
{
    int nb = 0;

    for (int i = 0; i < s->nb; i++)
        if (s->peer[i]->ended)
            lv_peer_drop(s->peer[i]);
        else
            s->peer[nb++] = s->peer[i];
    s->nb = nb;
}

/* Wait for what is to be read. @return 1; 0: a signal came; -errno */
static int wait_input(const LvServer *s, struct pollfd *at)
{
    sigset_t open;

    for (int i = 0; i < s->nb; i++)
        at[i] = (struct pollfd) { .fd = s->peer[i]->in, .events = POLLIN };
    /* one that finds no room waits in the queue of the socket */
    at[s->nb] = (struct pollfd) { .fd = s->nb < PEERS ? s->listener : -1, .events = POLLIN };
    pthread_sigmask(SIG_BLOCK, NULL, &open);
    sigdelset(&open, SIGINT);
    sigdelset(&open, SIGTERM);
    if (ppoll(at, (nfds_t)s->nb + 1, NULL, &open) >= 0)
        return 1;
    return errno == EINTR ? 0 : lv_tool_fail(-errno, "poll: %s", strerror(errno));
}

int lv_server_run(LvServer *s, LvServerLine *line, void *opaque)
{
    struct pollfd at[PEERS + 1];
    int ret = 0;

    while (ret >= 0 && !lv_signals_caught() && (s->nb || s->listener >= 0)) {
        int nb = s->nb;

        if ((ret = wait_input(s, at)) <= 0)
            continue;
        for (int i = 0; i < nb; i++)
            if (at[i].revents)
                read_peer(s->peer[i], line, opaque);
        if (at[nb].revents)
            accept_peer(s);
        drop_ended(s);
    }
    return ret < 0 ? ret : 0;
}
