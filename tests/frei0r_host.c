/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A host of frei0r that does what real ones do seldom: goes back in time, changes
 * parameters.
 *
 *     frei0r_host PLUGIN WIDTH HEIGHT NAME=VALUE|TIME...
 *
 * An argument with = sets a parameter; any other is a time, and prints the hash of the
 * frame at that time.
 */

#include <dlfcn.h>
#include <frei0r.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Plugin {
    void *file;
    f0r_instance_t (*construct)(unsigned, unsigned);
    void (*destruct)(f0r_instance_t);
    void (*plugin_info)(f0r_plugin_info_t *);
    void (*param_info)(f0r_param_info_t *, int);
    void (*set)(f0r_instance_t, f0r_param_t, int);
    void (*update)(f0r_instance_t, double, const uint32_t *, uint32_t *);
} Plugin;

static void *find(const Plugin *p, const char *name)
{
    void *function = dlsym(p->file, name);

    if (!function)
        fprintf(stderr, "%s\n", dlerror()), exit(1);
    return function;
}

static void load(Plugin *p, const char *path)
{
    if (!(p->file = dlopen(path, RTLD_NOW | RTLD_LOCAL)))
        fprintf(stderr, "%s\n", dlerror()), exit(1);
    *(void **)&p->construct   = find(p, "f0r_construct");
    *(void **)&p->destruct    = find(p, "f0r_destruct");
    *(void **)&p->plugin_info = find(p, "f0r_get_plugin_info");
    *(void **)&p->param_info  = find(p, "f0r_get_param_info");
    *(void **)&p->set         = find(p, "f0r_set_param_value");
    *(void **)&p->update      = find(p, "f0r_update");
}

static void set(const Plugin *p, f0r_instance_t in, const char *text)
{
    size_t n = strcspn(text, "=");
    f0r_plugin_info_t info;
    f0r_param_info_t param;
    f0r_param_string value = (char *)text + n + 1;

    p->plugin_info(&info);
    for (int i = 0; i < info.num_params; i++) {
        p->param_info(&param, i);
        if (strlen(param.name) == n && !memcmp(param.name, text, n)) {
            p->set(in, &value, i);
            return;
        }
    }
    fprintf(stderr, "no parameter %s\n", text);
    exit(1);
}

static void print_help(const Plugin *p)
{
    f0r_plugin_info_t info;
    f0r_param_info_t param;

    p->plugin_info(&info);
    for (int i = 0; i < info.num_params; i++) {
        p->param_info(&param, i);
        printf("%s: %s\n", param.name, param.explanation);
    }
}

/* FNV-1a */
static unsigned long long hash(const uint8_t *bytes, size_t nb)
{
    unsigned long long h = 0xCBF29CE484222325;

    for (size_t i = 0; i < nb; i++)
        h = (h ^ bytes[i]) * 0x100000001B3;
    return h;
}

int main(int argc, char **argv)
{
    unsigned width = argc > 3 ? atoi(argv[2]) : 0, height = argc > 3 ? atoi(argv[3]) : 0;
    size_t bytes    = (size_t)width * height * 4;
    uint32_t *frame = malloc(bytes + 1);
    f0r_instance_t in;
    Plugin p;

    if (!bytes || !frame)
        return 2;
    load(&p, argv[1]);
    if (argc == 5 && !strcmp(argv[4], "?"))
        return print_help(&p), 0;
    in = p.construct(width, height);
    for (int i = 4; i < argc; i++) {
        if (strchr(argv[i], '=')) {
            set(&p, in, argv[i]);
            continue;
        }
        p.update(in, atof(argv[i]), NULL, frame);
        printf("%016llx\n", hash((uint8_t *)frame, bytes));
    }
    p.destruct(in);
    dlclose(p.file);
    free(frame);
    return 0;
}
