#include <mltfr/status.h>

#include <stdarg.h>
#include <stdio.h>

char mltfr_error_text[MLTFR_ERROR_BYTES];

static const struct {
    int exit;
    const char *text;
} table[] = {
#define X(code, exit, text) {exit, text},
    MLTFR_STATUS_LIST(X)
#undef X
};

mltfr_status mltfr_fail(mltfr_status code, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(mltfr_error_text, sizeof mltfr_error_text, format, ap);
    va_end(ap);
    return code;
}

int mltfr_status_exit(mltfr_status code)
{
    return table[code].exit;
}

const char *mltfr_status_text(mltfr_status code)
{
    return table[code].text;
}
