/* Checks between keys, once all sources have been read. */
#include <mltfr/config.h>

/* State what does not fit; the first such rule is the one reported. */
static mltfr_status check_sizes(const mltfr_settings *s)
{
    if (s->model_backbone != MLTFR_MODEL_BACKBONE_GRU4REC && s->model_dim % s->model_heads != 0)
        return mltfr_fail(MLTFR_E_USAGE, "model.dim = %lld is not a multiple of model.heads = %lld",
                          (long long)s->model_dim, (long long)s->model_heads);
    if (s->filter_top_m > s->filter_pool)
        return mltfr_fail(MLTFR_E_USAGE, "filter.top_m = %lld is more than filter.pool = %lld",
                          (long long)s->filter_top_m, (long long)s->filter_pool);
    return MLTFR_OK;
}

static mltfr_status check_pairs(const mltfr_settings *s)
{
    if (s->model_norm == MLTFR_MODEL_NORM_PRE && s->model_backbone != MLTFR_MODEL_BACKBONE_SASREC)
        return mltfr_fail(MLTFR_E_USAGE,
                          "model.norm: pre is for model.backbone: sasrec; the others take post");
    if (s->tokens_tables_count > 0 && s->tokens_path[0] != '\0')
        return mltfr_fail(MLTFR_E_USAGE,
                          "tokens.tables and tokens.path are both given; one of them is allowed");
    if (s->router_balance == MLTFR_ROUTER_BALANCE_SWITCH && s->router_z_loss > 0)
        return mltfr_fail(MLTFR_E_USAGE,
                          "router.balance: switch and router.z_loss = %g are both "
                          "given; one of them is allowed",
                          s->router_z_loss);
    return MLTFR_OK;
}

mltfr_status mltfr_config_check(const mltfr_config *config)
{
    const mltfr_settings *s = mltfr_config_settings(config);
    int64_t steps, seconds;
    mltfr_status st;

    MLTFR_TRY(check_sizes(s));
    MLTFR_TRY(check_pairs(s));
    if (s->run_dir[0] == '\0')
        MLTFR_FAIL(MLTFR_E_USAGE, "run.dir is empty; it must name a directory");
    if (!mltfr_text_to_stop(s->run_stop_after, &steps, &seconds))
        MLTFR_FAIL(MLTFR_E_USAGE,
                   "run.stop_after: %s is not allowed: must be steps (15) or a time "
                   "(90s, 3h50m)",
                   s->run_stop_after);
done:
    return st;
}
