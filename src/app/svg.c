/* Axes with round ticks, polylines with a point and a tooltip each where there are few, and bars.
 * The view box is small, so that 12 units of type can still be read on a telephone. */
#include "svg.h"

#include <math.h>
#include <string.h>

enum { WIDTH = 440, HEIGHT = 250, LEFT = 54, RIGHT = 12, TOP = 8, BOTTOM = 36 };
enum { BAR = 22, BAR_LABEL = 130, MOST_POINTS = 60 };

void svg_escaped(mltfr_text *page, const char *words)
{
    for (; *words != '\0'; words++) {
        const unsigned char c = (unsigned char)*words;

        const bool control = (c < ' ' && c != '\n') || c == 127;

        if (strchr("<>&\"'", c) != NULL || control)
            mltfr_text_add(page, "&#%d;", control ? '?' : c);
        else
            mltfr_text_add_bytes(page, words, 1);
    }
}

static void open_figure(mltfr_text *page, const char *title, int width, int height)
{
    mltfr_text_add(page, "<figure><figcaption>");
    svg_escaped(page, title);
    mltfr_text_add(page, "</figcaption>\n<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"",
                   width, height);
    svg_escaped(page, title);
    mltfr_text_add(page, "\">\n");
}

/* ---- axes ---------------------------------------------------------------------------------- */

typedef struct {
    double low, high, tick;
} axis;

/* Round ticks, about `wanted` of them, and bounds that lie on one. */
static axis axis_of(double low, double high, int wanted)
{
    axis a = {low, high, 1};

    if (!(high > low)) {
        a.low = low - (low == 0 ? 1 : fabs(low) / 10);
        a.high = high + (high == 0 ? 1 : fabs(high) / 10);
    }
    const double raw = (a.high - a.low) / wanted, ten = pow(10, floor(log10(raw)));
    const double digit = raw / ten;

    a.tick = ten * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
    a.low = floor(a.low / a.tick) * a.tick;
    a.high = ceil(a.high / a.tick) * a.tick;
    return a;
}

static double x_at(const axis *a, double x)
{
    return LEFT + (x - a->low) / (a->high - a->low) * (WIDTH - LEFT - RIGHT);
}

static double y_at(const axis *a, double y)
{
    return TOP + (a->high - y) / (a->high - a->low) * (HEIGHT - TOP - BOTTOM);
}

/* Zero is exactly zero, and no tick shows the rounding of its sum. */
static double tick_value(const axis *a, int i)
{
    const double value = a->low + i * a->tick;

    return fabs(value) < a->tick / 1e6 ? 0 : value;
}

static int tick_count(const axis *a)
{
    return (int)((a->high - a->low) / a->tick + 1.5);
}

static void draw_axes(mltfr_text *page, const axis *x, const axis *y, const char *x_label)
{
    for (int i = 0; i < tick_count(y); i++) {
        const double value = tick_value(y, i), at = y_at(y, value);

        mltfr_text_add(page, "<path class=\"grid\" d=\"M%d %.1fH%d\"/>", LEFT, at, WIDTH - RIGHT);
        mltfr_text_add(page, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>\n",
                       LEFT - 6, at + 4, value);
    }
    for (int i = 0; i < tick_count(x); i++)
        mltfr_text_add(page, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.6g</text>\n",
                       x_at(x, tick_value(x, i)), HEIGHT - BOTTOM + 15, tick_value(x, i));
    mltfr_text_add(page, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">", WIDTH - RIGHT, HEIGHT - 4);
    svg_escaped(page, x_label);
    mltfr_text_add(page, "</text>\n");
}

/* ---- lines --------------------------------------------------------------------------------- */

static void draw_points(mltfr_text *page, const svg_series *s, const axis *x, const axis *y)
{
    for (int64_t i = 0; i < s->n && s->n <= MOST_POINTS; i++) {
        if (!isfinite(s->y[i]))
            continue;
        mltfr_text_add(page, "<circle class=\"dot s%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.6\"><title>",
                       s->colour % SVG_COLOURS, x_at(x, s->x[i]), y_at(y, s->y[i]));
        svg_escaped(page, s->name);
        mltfr_text_add(page, ": %.6g at %.6g</title></circle>", s->y[i], s->x[i]);
    }
    mltfr_text_add(page, "\n");
}

static void draw_line(mltfr_text *page, const svg_series *s, const axis *x, const axis *y)
{
    bool pen = false;

    mltfr_text_add(page, "<path class=\"line s%d\" d=\"", s->colour % SVG_COLOURS);
    for (int64_t i = 0; i < s->n; i++) {
        const bool here = isfinite(s->y[i]);

        if (here)
            mltfr_text_add(page, "%c%.1f %.1f", pen ? 'L' : 'M', x_at(x, s->x[i]),
                           y_at(y, s->y[i]));
        pen = here;
    }
    mltfr_text_add(page, "\"/>");
    draw_points(page, s, x, y);
}

static void draw_legend(mltfr_text *page, const svg_chart *chart)
{
    mltfr_text_add(page, "<ul class=\"legend\">");
    for (int i = 0; i < chart->count; i++) {
        if (chart->series[i].n == 0)
            continue;
        mltfr_text_add(page, "<li><i class=\"s%d\"></i>", chart->series[i].colour % SVG_COLOURS);
        svg_escaped(page, chart->series[i].name);
        mltfr_text_add(page, "</li>");
    }
    mltfr_text_add(page, "</ul>\n");
}

typedef struct {
    double x[2], y[2]; /* least and largest */
    bool any;
} extent;

static extent extent_of(const svg_chart *chart)
{
    extent e = {{INFINITY, -INFINITY}, {INFINITY, -INFINITY}, false};

    for (int s = 0; s < chart->count; s++)
        for (int64_t i = 0; i < chart->series[s].n; i++) {
            const double x = chart->series[s].x[i], y = chart->series[s].y[i];

            if (!isfinite(x) || !isfinite(y))
                continue;
            e.any = true;
            e.x[0] = fmin(e.x[0], x);
            e.x[1] = fmax(e.x[1], x);
            e.y[0] = fmin(e.y[0], y);
            e.y[1] = fmax(e.y[1], y);
        }
    return e;
}

void svg_lines(mltfr_text *page, const svg_chart *chart)
{
    const extent e = extent_of(chart);

    if (!e.any)
        return;
    const axis x = axis_of(e.x[0], e.x[1], 6);
    const axis y = axis_of(chart->from_zero ? fmin(0, e.y[0]) : e.y[0], e.y[1], 5);

    open_figure(page, chart->title, WIDTH, HEIGHT);
    draw_axes(page, &x, &y, chart->x_label);
    for (int i = 0; i < chart->count; i++)
        draw_line(page, &chart->series[i], &x, &y);
    mltfr_text_add(page, "</svg>\n");
    if (chart->count > 1)
        draw_legend(page, chart);
    mltfr_text_add(page, "</figure>\n");
}

/* ---- bars ---------------------------------------------------------------------------------- */

static void draw_bar(mltfr_text *page, const svg_bar *bar, int row, double scale)
{
    const double y = TOP + row * BAR, end = BAR_LABEL + fmax(bar->value, 0) * scale;

    mltfr_text_add(page, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", BAR_LABEL - 8, y + 14);
    svg_escaped(page, bar->label);
    mltfr_text_add(page,
                   "</text><rect class=\"bar s%d\" x=\"%d\" y=\"%.1f\" width=\"%.1f\" "
                   "height=\"%d\" rx=\"2\"/>",
                   bar->colour % SVG_COLOURS, BAR_LABEL, y + 3, end - BAR_LABEL, BAR - 7);
    if (bar->low < bar->high)
        mltfr_text_add(
            page, "<path class=\"whisker\" d=\"M%.1f %.1fH%.1fM%.1f %.1fv8M%.1f %.1fv8\"/>",
            BAR_LABEL + fmax(bar->low, 0) * scale, y + 10, BAR_LABEL + bar->high * scale,
            BAR_LABEL + fmax(bar->low, 0) * scale, y + 6, BAR_LABEL + bar->high * scale, y + 6);
    mltfr_text_add(page, "<text x=\"%.1f\" y=\"%.1f\">",
                   fmax(end, BAR_LABEL + fmax(bar->high, 0) * scale) + 6, y + 14);
    svg_escaped(page, bar->note);
    mltfr_text_add(page, "</text>\n");
}

void svg_bars(mltfr_text *page, const char *title, int count, const svg_bar bars[])
{
    const double room = WIDTH - BAR_LABEL - 110; /* behind it: the longest note */
    double most = 0;

    for (int i = 0; i < count; i++)
        most = fmax(most, fmax(bars[i].value, bars[i].high));
    if (!(most > 0))
        return;
    open_figure(page, title, WIDTH, 2 * TOP + count * BAR);
    for (int i = 0; i < count; i++)
        draw_bar(page, &bars[i], i, room / most);
    mltfr_text_add(page, "</svg></figure>\n");
}
