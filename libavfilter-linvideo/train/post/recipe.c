/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/post/recipe.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "backend/ops.h"
#include "train/run/optimrows.h"

#define AT(member) offsetof(LvRecipe, member)

#define NAMED(section, key, member, size) ROW(section, key, NAME, member, 0, size, 0)

static const LvConfigRow rows[] = {
    ROW("train", "seed", INT, seed, 0, 1 << 30, 1),

    ROW("trajectories", "prompts",    INT,  trajectories.prompts,    1, 1 << 24, 1000),
    ROW("trajectories", "clips",      INT,  trajectories.clips,      0, 1 << 24, 1000),
    ROW("trajectories", "seed",       INT,  trajectories.seed,       -1, 1 << 30, -1),
    ROW("trajectories", "batch",      INT,  trajectories.batch,      0, 1024, 0),
    ROW("trajectories", "velocities", INT,  trajectories.velocities, 0, 1, 0),
    ROW("trajectories", "steps",      INT,  trajectories.steps,      0, 1000, 0),
    ROW("trajectories", "shift",      REAL, trajectories.shift,      0, 100, 0),
    ROW("trajectories", "guidance",   REAL, trajectories.guidance,   0, 100, 0),
    NAMED("trajectories", "solver", trajectories.solver, 16),

    OPTIM("maps", maps, 0, 5e-3),
    ROW("maps", "batch", INT, maps.batch, 1, 1024, 8),

    OPTIM("linearize", linearize, 3000, 2e-4),
    ROW("linearize", "lr_map", REAL, linearize.optim.lr_map, 0, 1, 1e-3),
    ROW("linearize", "batch",  INT,  linearize.batch,  1, 65536, 16),
    ROW("linearize", "micro",  INT,  linearize.micro,  1, 1024, 16),
    ROW("linearize", "layers", INT,  linearize.layers, 0, LV_MAX_LAYERS, 0),
    NAMED("linearize", "select", linearize.select_by, LV_SELECT_SIZE),
    NAMED("linearize", "feature_map", linearize.map_name, 16),
    ROW("linearize", "feature_dim", INT,  linearize.map_dim,   0, 4096, 0),
    ROW("linearize", "feature_eps", REAL, linearize.map_eps,   0, 0.1, 1e-6),
    ROW("linearize", "map_scale",   REAL, linearize.map_scale, 0, 100, 0),
    NAMED("linearize", "objective", linearize.objective_name, 16),
    NAMED("linearize", "states", linearize.states_name, 16),
    NAMED("linearize", "weight", linearize.weight_name, 16),
    NAMED("linearize", "compare", linearize.compare_name, 16),
    NAMED("linearize", "only", linearize.only_name, 16),
    ROW("linearize", "p_negative", REAL, linearize.p_negative, 0, 1, 0.2),
    ROW("linearize", "t_min", REAL, linearize.t_min, 1e-4, 1, 0.02),
    ROW("linearize", "cap",   REAL, linearize.cap,   0.1, 1e6, 10),

    ROW("linearize", "r0",          REAL, linearize.gates.r0,          0, 1, 0.98),
    ROW("linearize", "r_lr",        REAL, linearize.gates.lr,          0, 1, 1e-2),
    ROW("linearize", "r_beta1",     REAL, linearize.gates.beta1,       0, 0.9999, 0.9),
    ROW("linearize", "r_beta2",     REAL, linearize.gates.beta2,       0, 0.99999, 0.99),
    ROW("linearize", "lambda",      REAL, linearize.gates.lambda,      0, 100, 0.01),
    ROW("linearize", "alpha_start", REAL, linearize.gates.alpha_start, 1, 1000, 20),
    ROW("linearize", "alpha_end",   REAL, linearize.gates.alpha_end,   1, 1000, 2),
    ROW("linearize", "anneal",      REAL, linearize.gates.anneal,      0, 1, 0.6),
    ROW("linearize", "eta_start",   REAL, linearize.gates.eta_start,   0, 1000, 1),
    ROW("linearize", "eta_end",     REAL, linearize.gates.eta_end,     0, 1000, 4),
    ROW("linearize", "freeze",      REAL, linearize.gates.freeze,      0, 1, 0.75),
    ROW("linearize", "r_trend",     REAL, linearize.gates.trend,       0, 0.99999, 0.99),
    ROW("linearize", "r_early",     INT,  linearize.gates.early,       0, 1 << 30, 0),
    ROW("linearize", "l_reg",       INT,  linearize.gates.reg,         0, 1, 1),
    ROW("linearize", "soft_count",  INT,  linearize.gates.soft,        0, 1, 0),
    NAMED("linearize", "r_range", linearize.gates.par_name, 16),
    NAMED("linearize", "r_end", linearize.gates.choice_name, 16),

    OPTIM("fake", critic, 0, 2e-5),
    ROW("fake", "ratio", INT, critic.ratio, 1, 1000, 5),

    OPTIM("distill", distill, 2000, 1e-4),
    ROW("distill", "ema_from",      INT,  distill.optim.ema_from, 0, 1 << 30, 200),
    NAMED("distill", "only", distill.only_name, 16),
    ROW("distill", "batch",         INT,  distill.batch,         1, 65536, 16),
    ROW("distill", "micro",         INT,  distill.micro,         1, 1024, 16),
    ROW("distill", "sampler_steps", INT,  distill.sampler_steps, 1, 1000, 4),
    ROW("distill", "sampler_shift", REAL, distill.sampler_shift, 0.01, 100, 5),
    ROW("distill", "guidance",      REAL, distill.guidance,      1, 100, 3),
    ROW("distill", "shift",         REAL, distill.shift,         0.01, 100, 5),
    ROW("distill", "t_min",         REAL, distill.t_min,         0.001, 1, 0.02),
    ROW("distill", "t_max",         REAL, distill.t_max,         0.001, 1, 0.98),
};

static const char *const objectives[LV_LEARN_NB] = {
    "onpolicy", "anchored", "step", "mse", "mse-online", "dmd",
};
static const char *const states[LV_STATES_NB] = { "step", "stream" };
static const char *const weights[LV_WEIGHT_NB] = { "norm", "unit", "literal", "sqrt" };
static const char *const compares[LV_COMPARE_NB] = { "branch", "joint" };
static const char *const onlies[LV_ONLY_NB] = { "all", "attention", "maps" };
static const char *const maps[LV_MAP_NB] = { "hedgehog", "relu", "taylor" };
static const char *const ranges[] = { "clamp", "sigmoid" };
static const char *const ends[] = { "topk", "round" };

/* Fields that hold one of some names. */
static const struct {
    const char *key;
    size_t name, value;
    const char *const *names;
    int nb;
} choices[] = {
    { "distill.only", AT(distill.only_name), AT(distill.only), onlies, LV_COUNT(onlies) },
#define CHOICE(key, name, value, names) \
    { "linearize." key, AT(linearize.name), AT(linearize.value), names, LV_COUNT(names) }
    CHOICE("feature_map", map_name, map, maps),
    CHOICE("objective", objective_name, objective, objectives),
    CHOICE("states", states_name, states, states),
    CHOICE("weight", weight_name, weight, weights),
    CHOICE("compare", compare_name, compare, compares),
    CHOICE("only", only_name, only, onlies),
    CHOICE("r_range", gates.par_name, gates.sigmoid, ranges),
    CHOICE("r_end", gates.choice_name, gates.plain, ends),
};

/* The first of each list is taken when nothing is said. */
static int read_choices(LvRecipe *r, const char *path, const LvMsg *msg)
{
    for (int i = 0; i < LV_COUNT(choices); i++) {
        char *name = (char *)r + choices[i].name;
        int *value = (int *)(void *)((char *)r + choices[i].value);
        if (!*name)
            strcpy(name, choices[i].names[0]);
        for (*value = 0; *value < choices[i].nb; (*value)++)
            if (!strcmp(name, choices[i].names[*value]))
                break;
        if (*value == choices[i].nb)
            return lv_fail(msg, LV_ERR_MODEL, "%s: %s is \"%s\", which is "
                           "unknown", path, choices[i].key, name);
    }
    if (!r->linearize.select_by[0])
        strcpy(r->linearize.select_by, "learned");
    return 0;
}

static int fail(const char *path, const LvMsg *msg, const char *what)
{
    return lv_fail(msg, LV_ERR_MODEL, "%s: %s", path, what);
}

static int check(const LvRecipe *r, const char *path, const LvMsg *msg)
{
    const LvLinearizeConfig *c = &r->linearize;

    if (c->batch % c->micro)
        return fail(path, msg, "linearize.micro does not divide linearize.batch");
    if (r->distill.batch % r->distill.micro)
        return fail(path, msg, "distill.micro does not divide distill.batch");
    if (c->gates.sigmoid && (c->gates.r0 <= 0 || c->gates.r0 >= 1))
        return fail(path, msg, "linearize.r0 is not a value of a sigmoid");
    if (c->states == LV_STATES_STREAM && c->objective >= LV_LEARN_MSE)
        return fail(path, msg, "linearize.states: streams are for onpolicy (which is the "
                    "mean squared error there), anchored and step");
    if (c->compare == LV_COMPARE_JOINT && c->objective != LV_LEARN_ONPOLICY &&
        c->objective != LV_LEARN_ONLINE)
        return fail(path, msg, "linearize.compare: joint is for onpolicy and mse-online");
    if (r->distill.t_min >= r->distill.t_max)
        return fail(path, msg, "distill.t_min is not below distill.t_max");
    return r->distill.optim.steps && c->optim.steps ? 0 :
           fail(path, msg, "steps are at least 1");
}

static const LvConfigRow *find_row(const char *section, const char *key)
{
    for (int i = 0; i < LV_COUNT(rows); i++)
        if (!strcmp(rows[i].section, section) && (!key || !strcmp(rows[i].key, key)))
            return &rows[i];
    return NULL;
}

static int check_keys(const json_t *section, const char *name, const char *path,
                      const LvMsg *msg)
{
    char shown[LV_SHOW_SIZE];
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)section, key, value)
        if (!find_row(name, key))
            return lv_fail(msg, LV_ERR_MODEL, "%s: %s.%s is not a setting of a recipe", path, name,
                           lv_text_show(shown, key, strlen(key)));
    return 0;
}

/* Nothing in a recipe is passed over. */
static int check_sections(const json_t *root, const char *path, const LvMsg *msg)
{
    char shown[LV_SHOW_SIZE];
    const char *key;
    json_t *value;
    int ret = 0;

    json_object_foreach((json_t *)(uintptr_t)root, key, value) {
        if (!find_row(key, NULL))
            return lv_fail(msg, LV_ERR_MODEL, "%s: %s is not a section of a recipe", path,
                           lv_text_show(shown, key, strlen(key)));
        if (!json_is_object(value))
            return lv_fail(msg, LV_ERR_MODEL, "%s: %s: expected an object of settings", path, key);
        if ((ret = check_keys(value, key, path, msg)) < 0)
            return ret;
    }
    return ret;
}

static int read_json(LvRecipe *r, const json_t *root, const char *path, const LvMsg *msg)
{
    LvOptim *optim[] = { &r->maps.optim, &r->linearize.optim, &r->critic.optim,
                         &r->distill.optim };
    int ret;

    if (!(r->text = json_dumps(root, JSON_INDENT(1))))
        return lv_fail(msg, LV_ERR(ENOMEM), "training: out of memory");
    if ((ret = check_sections(root, path, msg)) < 0 ||
        (ret = lv_config_rows(r, rows, LV_COUNT(rows), root, path, msg)) < 0 ||
        (ret = read_choices(r, path, msg)) < 0)
        return ret;
    if (r->trajectories.batch)
        lv_msg(msg, LV_MSG_WARNING, "%s: trajectories.batch is not used any more: clips are "
               "sampled one after another", path);
    for (int i = 0; i < LV_COUNT(optim); i++)
        optim[i]->seed = (uint64_t)r->seed;
    r->maps.optim.decay = 0; /* all but maps have no gradient, and must stay */
    if (r->trajectories.seed < 0)
        r->trajectories.seed = r->seed;
    return check(r, path, msg);
}

/* "section.key=value" */
static int change(json_t *root, const char *text, const LvMsg *msg)
{
    char section[32] = "", key[32] = "";
    json_t *value = NULL, *object;
    const LvConfigRow *row;
    int at = 0;

    sscanf(text, "%31[a-z].%31[a-z_0-9]=%n", section, key, &at);
    if (!(row = find_row(section, key)) || !at)
        return lv_fail(msg, LV_ERR(EINVAL), "\"%s\" is not SECTION.KEY=VALUE of a recipe",
                       text);
    object = json_object_get(root, section);
    if (object && !json_is_object(object))
        return lv_fail(msg, LV_ERR_MODEL, "\"%s\": %s of the recipe: expected an object of "
                       "settings", text, section);
    if (row->kind != LV_CONFIG_NAME)
        value = json_loads(text + at, JSON_DECODE_ANY, NULL);
    if (!value)
        value = json_string(text + at);
    if (!object) {
        object = json_object();
        json_object_set_new(root, section, object);
    }
    return json_object_set_new(object, key, value) < 0 ?
           lv_fail(msg, LV_ERR(ENOMEM), "training: out of memory") : 0;
}

static int load(json_t **root, const char *path, const LvMsg *msg)
{
    int ret;

    if (!path)
        return *root = json_object(), 0;
    if ((ret = lv_config_load(root, path, msg)) < 0)
        return ret;
    return json_is_object(*root) ? 0 :
           lv_fail(msg, LV_ERR_MODEL, "%s: not a JSON object", path);
}

int lv_recipe_read(LvRecipe *r, const char *path, const char *const *changes, int nb,
                   const LvMsg *msg)
{
    json_t *root = NULL;
    int ret;

    memset(r, 0, sizeof(*r));
    ret = load(&root, path, msg);
    for (int i = 0; i < nb && ret >= 0; i++)
        ret = change(root, changes[i], msg);
    if (ret >= 0)
        ret = read_json(r, root, path ? path : "recipe", msg);
    json_decref(root);
    return ret;
}

void lv_recipe_free(LvRecipe *r)
{
    free(r->text);
    r->text = NULL;
}

char *lv_recipe_section(const LvRecipe *r, const char *section)
{
    json_t *root = json_loads(r->text, 0, NULL), *object = json_object_get(root, section);
    char *text   = object ? json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS)
                          : json_dumps(json_null(), JSON_ENCODE_ANY);

    json_decref(root);
    return text;
}
