/* Charts as inline SVG, for a page that names the colours: series i has the class "s<i>", i modulo
 * SVG_COLOURS.  A chart is a <figure> with its title, the drawing and a legend in HTML, so that
 * text stays readable where the drawing gets small.  All functions are @local. */
#ifndef MLTFR_SVG_H
#define MLTFR_SVG_H

#include <mltfr/text.h>

enum { SVG_COLOURS = 8 };

/* Append text with what HTML would read as markup escaped. */
void svg_escaped(mltfr_text *page, const char *words);

/* A line through points; a NaN leaves a gap. */
typedef struct {
    char name[96];
    int64_t n;
    double *x, *y; /* [n], x rising */
    int colour;
} svg_series;

typedef struct {
    const char *title, *x_label;
    bool from_zero; /* the vertical axis begins at 0 */
    int count;
    const svg_series *series;
} svg_chart;

/* Nothing where no series has a point. */
void svg_lines(mltfr_text *page, const svg_chart *chart);

/* A labelled bar from 0 to value; low < high: an interval drawn on it. */
typedef struct {
    char label[96], note[64]; /* note: at the end of the bar */
    double value, low, high;
    int colour;
} svg_bar;

void svg_bars(mltfr_text *page, const char *title, int count, const svg_bar bars[]);

#endif
