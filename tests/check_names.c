/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Tests of what names and metadata tell of a network: how it is sampled, or that it can't
 * be run.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/names.h"

static char folder[] = "/tmp/linvideo-names-XXXXXX";

static void start(void) { ck_assert_ptr_nonnull(mkdtemp(folder)); }

static void end(void)
{
    char command[64];

    snprintf(command, sizeof(command), "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}

/* --- words --- */

static const struct {
    const char *text, *word;
    int is_there;
} words[] = {
    { "rcm", "rcm", 1 }, { "Wan2.1-rCM_1.3B", "rcm", 1 }, { "supercmix", "rcm", 0 },
    { "rcmix", "rcm", 0 }, { "arcm", "rcm", 0 }, { "SelfForcing", "selfforcing", 1 },
    { "self_forcing_dmd", "selfforcing", 1 }, { "self-forcing", "selfforcing", 1 },
    { "herself_forcing", "selfforcing", 0 }, { "WANFusionX", "fusionx", 1 },
    { "confusionx", "fusionx", 0 }, { "lightx2v", "lightx2v", 1 }, { "14steps", "4steps", 0 },
    { "4steps", "4steps", 1 }, { "4-steps", "4steps", 1 }, { "Wan2_2", "wan22", 1 },
    { "wan2.2", "wan22", 1 }, { "wan22", "wan22", 1 }, { "wan2.1", "wan22", 0 },
    { "wan221", "wan22", 0 }, { "", "rcm", 0 }, { "___", "rcm", 0 }, { "rc", "rcm", 0 },
};

START_TEST(test_words)
{
    size_t n = 0;
    const char *at = lv_find_word(words[_i].text, words[_i].word, &n);

    ck_assert_msg(!at == !words[_i].is_there, "%s in %s", words[_i].word, words[_i].text);
    ck_assert(!at || (n >= strlen(words[_i].word) && n <= strlen(at)));
}
END_TEST

/* --- names --- */

static const struct {
    const char *path, *preset; /* NULL: nothing tells */
    enum LvUse use;
    int lora;
    int half;                  /* of LV_USE_HALF */
} names[] = {
    { "wan2.1_t2v_1.3B_bf16.safetensors", NULL, LV_USE_ANY, 0, 0 },
    { "lightx2v/Wan2.1-T2V-1.3B.safetensors", NULL, LV_USE_ANY, 0, 0 },
    { "rcm/supercmix.safetensors", NULL, LV_USE_ANY, 0, 0 },
    { "turbo_style.safetensors", NULL, LV_USE_ANY, 1, 0 },
    { "Wan2.1-T2V-14B-StepDistill-CfgDistill.safetensors", "lightx2v", LV_USE_ANY, 0, 0 },
    { "x/wan2.1_t2v_14b_lightx2v_4step.gguf", "lightx2v", LV_USE_ANY, 0, 0 },
    { "lightx2v_T2V_14B_cfg_step_distill_v2_lora_rank64_bf16.safetensors", "lightx2v",
      LV_USE_ANY, 1, 0 },
    { "rCM_Wan2.1_T2V_1.3B_480p.safetensors", "rcm", LV_USE_ANY, 0, 0 },
    { "TurboWan2.1-T2V-1.3B-480P.safetensors", "rcm", LV_USE_ANY, 0, 0 },
    { "AccVideo-WanX-T2V-480P-14B.safetensors", "accvideo", LV_USE_ANY, 0, 0 },
    { "Wan21_AccVid_T2V_480P_14B_lora_rank32_fp16.safetensors", "accvideo", LV_USE_ANY, 1, 0 },
    { "Wan14BT2VFusionX_fp16_.safetensors", "fusionx", LV_USE_ANY, 0, 0 },
    { "Wan2.1_T2V_14B_FusionX_LoRA.safetensors", "fusionx", LV_USE_ANY, 1, 0 },
    { "FastWan_T2V_14B_480p_lora_rank_128_bf16.safetensors", "fastwan", LV_USE_ANY, 1, 0 },
    { "Wan2_1-T2V-1_3B_FastWanFullAttn_bf16.safetensors", "fastwan", LV_USE_ANY, 0, 0 },
    { "Wan21_CausVid_14B_T2V_lora_rank32.safetensors", "causvid", LV_USE_ANY, 1, 0 },
    { "self_forcing_dmd.safetensors", "self-forcing-causal", LV_USE_CAUSAL, 0, 0 },
    { "self_forcing_lora_rank32.safetensors", "self-forcing", LV_USE_ANY, 1, 0 },
    { "causvid_autoregressive.safetensors", "causvid", LV_USE_CAUSAL, 0, 0 },
    { "x/causal_model.safetensors", NULL, LV_USE_CAUSAL, 0, 0 },
    { "krea-realtime-video-14b.safetensors", NULL, LV_USE_CAUSAL, 0, 0 },
    { "LongLive-1.3B.safetensors", "longlive", LV_USE_CAUSAL, 0, 0 },
    { "framewise/causal_forcing.safetensors", "self-forcing-causal", LV_USE_CAUSAL, 0, 0 },
    { "causal-forcing-framewise.safetensors", "causal-forcing-framewise", LV_USE_CAUSAL, 0, 0 },
    { "wan2.2_t2v_high_noise_14B_fp16.safetensors", NULL, LV_USE_HALF, 0, LV_HIGH },
    { "Wan2_2-T2V-A14B-LOW_fp8_e4m3fn_scaled_KJ.safetensors", NULL, LV_USE_HALF, 0, LV_LOW },
    { "Wan2.2-T2V-A14B-HighNoise-Q4_K_M.gguf", NULL, LV_USE_HALF, 0, LV_HIGH },
    { "WAN22_t2v.safetensors", NULL, LV_USE_HALF, 0, LV_HALF_UNKNOWN },
    { "t2v_low_noise.safetensors", NULL, LV_USE_HALF, 0, LV_LOW },
    { "Wan2.2-Lightning/high_noise_model.safetensors", NULL, LV_USE_HALF, 1, LV_HIGH },
    { "Wan2.2-Lightning_T2V-A14B-4steps-lora_HIGH_fp16.safetensors", "wan2.2-lightning",
      LV_USE_HALF, 1, LV_HIGH },
    { "m/high_noise_model/diffusion_pytorch_model.safetensors.index.json", NULL, LV_USE_HALF,
      0, LV_HIGH },
    { "m/low_noise_model/diffusion_pytorch_model-00001-of-00006.safetensors", NULL,
      LV_USE_HALF, 0, LV_LOW },
    { "m/transformer_2/diffusion_pytorch_model.safetensors", NULL, LV_USE_HALF, 0, LV_LOW },
    { "high_noise_model/wan2.1.safetensors", NULL, LV_USE_ANY, 0, 0 },
    { "transformer/diffusion_pytorch_model.safetensors", NULL, LV_USE_ANY, 0, 0 },
};

static int same_preset(const LvHint *h, const char *name)
{
    return h->preset ? name && !strcmp(h->preset->name, name) : !name;
}

START_TEST(test_names)
{
    LvHint h;

    lv_hint(&h, NULL, names[_i].path, names[_i].lora);
    ck_assert_msg(same_preset(&h, names[_i].preset) && h.use == names[_i].use,
                  "%s: %s, use %d", names[_i].path, h.preset ? h.preset->name : "none", h.use);
    ck_assert_msg(h.use != LV_USE_HALF || h.half == names[_i].half, "%s: half %d", names[_i].path,
                  h.half);
    ck_assert(!h.preset || strstr(names[_i].path, h.word));
}
END_TEST

/* --- refusals --- */

static char message[512];
static int level_put;

static void keep(void *opaque, int level, const char *line)
{
    (void)opaque;
    level_put = level;
    snprintf(message, sizeof(message), "%s", line);
}

static const LvMsg quiet = { keep, NULL, LV_MSG_WARNING };

START_TEST(test_refusals)
{
    LvHint h;

    for (int chosen = 0; chosen < 2; chosen++) {
        lv_hint(&h, NULL, "wan2.2_low_noise.gguf", 0);
        ck_assert_int_eq(lv_hint_check(&h, "x.gguf", LV_AS_ALONE, chosen, &quiet),
                         LV_ERR_UNSUPPORTED);
        ck_assert_ptr_nonnull(strstr(message, "x.gguf: \"wan2.2\" in its name"));
        ck_assert_ptr_nonnull(strstr(message, "Wan2.2 A14B"));
        lv_hint(&h, NULL, "longlive.gguf", 0);
        ck_assert_int_eq(lv_hint_check(&h, "y.gguf", LV_AS_ALONE, chosen, &quiet),
                         chosen ? 0 : LV_ERR_UNSUPPORTED);
        ck_assert_ptr_nonnull(strstr(message, "y.gguf: \"longlive\" in its name"));
        ck_assert_ptr_nonnull(strstr(message, chosen ? "run as a whole" : "expected a preset"));
        ck_assert_int_eq(level_put, chosen ? LV_MSG_WARNING : LV_MSG_ERROR);
        lv_hint(&h, NULL, "lightx2v.gguf", 0);
        ck_assert_int_eq(lv_hint_check(&h, "z.gguf", LV_AS_ALONE, chosen, &quiet), 0);
        ck_assert_ptr_null(strstr(message, "z.gguf"));
    }
    *message = 0;
    lv_hint(&h, NULL, "longlive.gguf", 0);
    ck_assert_int_eq(lv_hint_check(&h, "y.gguf", LV_AS_ALONE, LV_CHOSEN_CAUSAL, &quiet), 0);
    ck_assert_str_eq(message, "");
}
END_TEST

/* --- metadata, and files of diffusers --- */

static const struct {
    const char *name, *key, *value, *preset;
    enum LvUse use;
} metadata[] = {
    { "a.safetensors", "modelspec.title", "Wan2.2 T2V low noise", NULL, LV_USE_HALF },
    { "lightx2v.safetensors", "modelspec.title", "my rCM", "rcm", LV_USE_ANY },
    { "wan2.2.safetensors", "modelspec.architecture", "wan2.1", NULL, LV_USE_ANY },
    { "wan2.2.safetensors", "modelspec.title", "my model", NULL, LV_USE_HALF },
    { "b.safetensors", "ss_base_model_version", "wan2.2_a14b", NULL, LV_USE_HALF },
    { "c.safetensors", "author", "the rcm of wan2.2", NULL, LV_USE_ANY },
};

START_TEST(test_metadata)
{
    const char *meta[] = { metadata[_i].key, metadata[_i].value, NULL };
    const float x = 1;
    const LvFileTensor t = { "x", LV_F32, 1, { 1 }, 1, &x, 4 };
    LvSource *src;
    char path[200];
    LvHint h;

    snprintf(path, sizeof(path), "%s/%s", folder, metadata[_i].name);
    ck_assert_int_eq(lv_safetensors_write(path, &t, 1, meta, &quiet), 0);
    ck_assert_int_eq(lv_source_open(&src, path, &quiet), 0);
    lv_hint(&h, src, path, 0);
    lv_source_close(&src);
    ck_assert_msg(same_preset(&h, metadata[_i].preset) && h.use == metadata[_i].use,
                  "%s, %s=%s: %s, use %d", metadata[_i].name, meta[0], meta[1],
                  h.preset ? h.preset->name : "none", h.use);
}
END_TEST

static const struct {
    const char *index;
    enum LvUse use;
} indices[] = {
    { "{\"transformer\": [\"diffusers\", \"WanTransformer3DModel\"]}", LV_USE_ANY },
    { "{\"boundary_ratio\": 0.875}", LV_USE_HALF },
    { "{\"boundary_ratio\": null}", LV_USE_ANY },
    { "{\"transformer_2\": [null, null], \"boundary_ratio\": null}", LV_USE_ANY },
    { "{\"transformer_2\": [\"diffusers\", \"WanTransformer3DModel\"]}", LV_USE_HALF },
    { "no JSON", LV_USE_ANY },
};

START_TEST(test_indices)
{
    char path[200];
    FILE *f;
    LvHint h;

    snprintf(path, sizeof(path), "%s/model_index.json", folder);
    ck_assert_ptr_nonnull(f = fopen(path, "w"));
    fputs(indices[_i].index, f);
    fclose(f);
    snprintf(path, sizeof(path), "%s/transformer/diffusion_pytorch_model.safetensors", folder);
    lv_hint(&h, NULL, path, 0);
    ck_assert_int_eq(h.use, indices[_i].use);
}
END_TEST

static Suite *names_suite(void)
{
    Suite *suite = suite_create("names");
    TCase *tc    = tcase_create("names");

    suite_add_tcase(suite, tc);
    tcase_add_unchecked_fixture(tc, start, end);
    tcase_add_loop_test(tc, test_words, 0, LV_COUNT(words));
    tcase_add_loop_test(tc, test_names, 0, LV_COUNT(names));
    tcase_add_test(tc, test_refusals);
    tcase_add_loop_test(tc, test_metadata, 0, LV_COUNT(metadata));
    tcase_add_loop_test(tc, test_indices, 0, LV_COUNT(indices));
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(names_suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
