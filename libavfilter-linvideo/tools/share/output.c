/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Outputs that a user names.
 */

#include "tools/share/output.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/share/message.h"

int lv_tool_ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), k = strlen(end);

    return n >= k && !strcasecmp(name + n - k, end);
}

int lv_tool_is_free(const char *path, int overwrite)
{
    struct stat st;

    if (overwrite || stat(path, &st) || !S_ISREG(st.st_mode))
        return 0;
    return lv_tool_fail(-EEXIST, "%s exists; -y overwrites it", path);
}

int lv_tool_may_write(const char *path, int overwrite)
{
    LvFile trial;
    int ret;

    if (lv_file_is_stream(path))
        return 0;
    if ((ret = lv_tool_is_free(path, overwrite)) < 0)
        return ret;
    if ((ret = lv_file_create(&trial, path, &lv_tool_msg)) >= 0)
        lv_file_abandon(&trial);
    return ret;
}

int lv_tool_not_input(const char *path, const char *input)
{
    if (!input || !lv_file_same(path, input))
        return 0;
    return lv_tool_fail(-EINVAL, "%s: the output is the same file as the input %s; choose "
                        "another name", path, input);
}

static int holds_files(const char *folder)
{
    DIR *d = opendir(folder);
    struct dirent *e;
    int nb = 0;

    while (d && (e = readdir(d)))
        nb += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    if (d)
        closedir(d);
    return nb > 0;
}

int lv_tool_may_fill(const char *folder, int overwrite)
{
    int is_new = folder && !mkdir(folder, 0777), ret = 0;
    char path[4096];

    if (!folder)
        return 0;
    if (!is_new && errno != EEXIST)
        return lv_tool_fail(-errno, "%s: %s", folder, strerror(errno));
    if (!overwrite && holds_files(folder))
        return lv_tool_fail(-EEXIST, "%s: the folder holds files; -y overwrites those of "
                            "the same names", folder);
    if (snprintf(path, sizeof(path), "%s/trial", folder) < (int)sizeof(path))
        ret = lv_tool_may_write(path, 1);
    if (is_new)
        rmdir(folder);
    return ret;
}

int lv_tool_finish(LvFile *f)
{
    return lv_file_finish(f, f->error == -EPIPE ? NULL : &lv_tool_msg);
}

int lv_tool_json(json_t *root, const char *path)
{
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) : NULL;
    LvFile out;
    int ret;

    json_decref(root);
    if (!text)
        return lv_tool_fail(-ENOMEM, "%s: out of memory", path);
    if ((ret = lv_file_output(&out, path, &lv_tool_msg)) >= 0) {
        lv_file_print(&out, "%s\n", text);
        ret = lv_tool_finish(&out);
    }
    free(text);
    return ret;
}
