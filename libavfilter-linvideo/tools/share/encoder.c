/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/share/encoder.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/common.h"
#include "tools/share/message.h"
#include "tools/share/output.h"

extern char **environ;

const char *lv_encoder_format(const char *path)
{
    static const char *const formats[][2] = {
        { ".mp4", "mp4" }, { ".mkv", "matroska" }, { ".webm", "webm" },
    };

    for (int i = 0; i < LV_COUNT(formats); i++)
        if (lv_tool_ends_with(path, formats[i][0]))
            return formats[i][1];
    return NULL;
}

int lv_encoder_is_here(void)
{
    const char *folder = getenv("PATH");
    char path[4096];

    for (size_t n; folder && *folder; folder += n + (folder[n] == ':')) {
        n = strcspn(folder, ":");
        snprintf(path, sizeof(path), "%.*s/ffmpeg", (int)n, folder);
        if (n && !access(path, X_OK))
            return 1;
    }
    return 0;
}

/* With signals as they are by default. SIGINT and others stay blocked, where they are: what
 * a terminal sends to all is for its parent to decide. */
static int spawn(char *const *args, int from, pid_t *child)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t pipe_only;
    int error;

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, from, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigdefault(&attr, &pipe_only);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF);
    error = posix_spawnp(child, args[0], &actions, &attr, args, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    return -error;
}

static int start(const char *path, const char *part, enum LinvideoMatrix matrix, int64_t seed,
                 int from, pid_t *child)
{
    char tags[128], note[64], file[4096 + 8];
    char *args[] = { "ffmpeg", "-v", "error", "-xerror", "-f", "yuv4mpegpipe", "-i", "pipe:0",
                     "-vf", tags, "-metadata", note, "-f", (char *)lv_encoder_format(path), "-y",
                     file, NULL };

    snprintf(tags, sizeof(tags), "setparams=range=tv:colorspace=%s:color_primaries=bt709:"
             "color_trc=bt709", matrix == LINVIDEO_MATRIX_BT601 ? "smpte170m" : "bt709");
    snprintf(note, sizeof(note), "comment=linvideo, seed %lld", (long long)seed);
    snprintf(file, sizeof(file), "file:%s", part);
    return spawn(args, from, child);
}

int lv_encoder_start(const char *path, const char *part, enum LinvideoMatrix matrix,
                     int64_t seed, LvFile *to, pid_t *child)
{
    int fd[2], ret;

    signal(SIGPIPE, SIG_IGN);
    if (pipe2(fd, O_CLOEXEC) < 0)
        return lv_tool_fail(-errno, "%s: %s", path, strerror(errno));
    ret = start(path, part, matrix, seed, fd[0], child);
    close(fd[0]);
    if (ret < 0) {
        close(fd[1]);
        return lv_tool_fail(ret, "%s: ffmpeg: %s", path, strerror(-ret));
    }
    if ((ret = lv_file_stream(to, fd[1], path, &lv_tool_msg)) < 0) {
        lv_encoder_end(*child, 0);
        *child = 0;
    }
    return ret;
}

int lv_encoder_end(pid_t child, int wait)
{
    int status = 0;

    if (!wait)
        kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
