/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "api/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/common.h"
#include "config.h"

/* Of bundles and of manifests. */
static const char *const endings[] = { ".safetensors", ".json" };

/* Folders to look in, colon-separated. */
static void search_path(char *out, size_t size)
{
    const char *own = getenv("LINVIDEO_MODEL_PATH"), *data = getenv("XDG_DATA_HOME");
    const char *home = getenv("HOME");
    size_t n = 0;

    out[0] = 0;
    if (own && *own)
        n += (size_t)snprintf(out + n, size - n, "%s:", own);
    if (data && *data && n < size)
        n += (size_t)snprintf(out + n, size - n, "%s/linvideo:", data);
    else if (home && *home && n < size)
        n += (size_t)snprintf(out + n, size - n, "%s/.local/share/linvideo:", home);
    if (n < size)
        snprintf(out + n, size - n, "%s", LINVIDEO_DATADIR);
}

static int is_path(const char *name)
{
    size_t len = strlen(name), end;

    for (int i = 0; i < LV_COUNT(endings); i++) {
        end = strlen(endings[i]);
        if (len > end && !strcmp(name + len - end, endings[i]))
            return 1;
    }
    return strchr(name, '/') != NULL;
}

int lv_model_find(char path[LV_PATH_SIZE], const char *name, const LvMsg *msg)
{
    char folders[LV_PATH_SIZE];
    const char *p = folders;

    if (!name || !*name)
        name = LV_DEFAULT_MODEL;
    if (is_path(name)) {
        if (snprintf(path, LV_PATH_SIZE, "%s", name) < LV_PATH_SIZE)
            return 0;
        return lv_fail(msg, LV_ERR(ENAMETOOLONG), "model: path too long");
    }
    search_path(folders, sizeof(folders));
    while (*p) {
        int len = (int)strcspn(p, ":");
        for (int i = 0; i < LV_COUNT(endings) && len; i++) {
            int put = snprintf(path, LV_PATH_SIZE, "%.*s/%s%s", len, p, name, endings[i]);
            if (put < LV_PATH_SIZE && !access(path, R_OK))
                return 0;
        }
        p += len + (p[len] == ':');
    }
    return lv_fail(msg, LV_ERR(ENOENT), "no model '%s': looked for %s.safetensors and "
                   ".json in %s; set LINVIDEO_MODEL_PATH or give a path", name, name, folders);
}
