/* The canonical sum over fixed blocks: every addition is left += right at a node of one binary
 * tree, whoever owns the blocks.  A running sum keeps the finished nodes of its range on a stack;
 * two top entries that are siblings merge at once, so the stack holds the maximal nodes and no
 * more than 2 log2(n) of them. */
#include <mltfr/kernel.h>
#include <mltfr/mem.h>
#include <mltfr/tree.h>

#include <stdbool.h>
#include <string.h>

struct mltfr_treesum {
    int64_t n, first, last, block; /* block: the next to be pushed */
    int64_t width;
    int count;                          /* buffers in use */
    mltfr_span spans[MLTFR_TREE_SPANS]; /* of the finished nodes */
    float *buffers;                     /* [][width] */
    mltfr_room room;                    /* they lie in it */
};

static int64_t middle(mltfr_span s)
{
    return s.lo + (s.hi - s.lo + 1) / 2;
}

MLTFR_KERNEL
static void add(int64_t width, float *restrict left, const float *restrict right)
{
    for (int64_t i = 0; i < width; i++)
        left[i] += right[i];
}

/* Append the maximal nodes below `node` that lie inside `range`. */
static int cover(mltfr_span node, mltfr_span range, mltfr_span spans[], int count)
{
    if (node.lo >= range.hi || node.hi <= range.lo)
        return count;
    if (node.lo >= range.lo && node.hi <= range.hi) {
        if (spans)
            spans[count] = node;
        return count + 1;
    }
    int64_t mid = middle(node);

    count = cover((mltfr_span){node.lo, mid}, range, spans, count);
    return cover((mltfr_span){mid, node.hi}, range, spans, count);
}

int mltfr_tree_cover(int64_t n, int64_t first, int64_t last, mltfr_span spans[])
{
    return first < last ? cover((mltfr_span){0, n}, (mltfr_span){first, last}, spans, 0) : 0;
}

/* The parts not yet used by the fold. */
typedef struct {
    const mltfr_span *spans;
    float *parts;
    int64_t width;
} fold_state;

static float *fold(fold_state *f, mltfr_span node)
{
    if (f->spans->lo == node.lo && f->spans->hi == node.hi) {
        float *part = f->parts;

        f->parts += f->width;
        f->spans++;
        return part;
    }
    int64_t mid = middle(node);
    float *left = fold(f, (mltfr_span){node.lo, mid});

    add(f->width, left, fold(f, (mltfr_span){mid, node.hi}));
    return left;
}

void mltfr_tree_fold(int64_t n, const mltfr_span spans[], int count, int64_t width, float *parts,
                     float *out)
{
    fold_state f = {spans, parts, width};

    if (n > 0 && count > 0)
        memcpy(out, fold(&f, (mltfr_span){0, n}), (size_t)width * sizeof *out);
    else
        memset(out, 0, (size_t)width * sizeof *out);
}

/* Buffers that the blocks [first, last) of n can need at once: nodes on both flanks of the tree and
 * the block being filled. */
static int64_t room_for(int64_t n, int64_t first, int64_t last)
{
    int height = 0;

    while (((int64_t)1 << height) < n)
        height++;
    int64_t blocks = last - first + 1;

    return blocks < 2 * height + 2 ? blocks : 2 * height + 2;
}

void mltfr_treesum_rewind(mltfr_treesum *sum)
{
    sum->block = sum->first;
    sum->count = 0;
}

mltfr_status mltfr_treesum_take(int64_t n, int64_t first, int64_t last, int64_t width,
                                mltfr_treesum **kept)
{
    mltfr_status st = MLTFR_OK;

    if (*kept == NULL)
        MLTFR_TRY(MLTFR_NEW(*kept, 1));
    mltfr_treesum *sum = *kept;

    sum->n = n;
    sum->first = sum->block = first;
    sum->last = last;
    sum->width = width;
    sum->count = 0;
    st = MLTFR_TAKE(&sum->room, sum->buffers, room_for(n, first, last) * width);
done:
    return st;
}

mltfr_status mltfr_treesum_create(int64_t n, int64_t first, int64_t last, int64_t width,
                                  mltfr_treesum **out)
{
    *out = NULL;
    const mltfr_status st = mltfr_treesum_take(n, first, last, width, out);

    if (st != MLTFR_OK)
        mltfr_treesum_destroy(out);
    return st;
}

float *mltfr_treesum_next(mltfr_treesum *sum)
{
    float *next = sum->buffers + sum->count * sum->width;

    memset(next, 0, (size_t)sum->width * sizeof *next);
    return next;
}

/* Are [a.lo, a.hi) and [a.hi, b.hi) the two children of one node of the tree over n blocks? */
static bool siblings(int64_t n, mltfr_span a, mltfr_span b)
{
    mltfr_span node = {0, n};

    while (node.lo != a.lo || node.hi != b.hi) {
        int64_t mid = middle(node);

        if (b.hi <= mid)
            node.hi = mid;
        else if (a.lo >= mid)
            node.lo = mid;
        else
            return false;
    }
    return middle(node) == a.hi;
}

void mltfr_treesum_push(mltfr_treesum *sum)
{
    mltfr_span *top = sum->spans + sum->count++;
    float *value = sum->buffers + (top - sum->spans) * sum->width;

    *top = (mltfr_span){sum->block, sum->block + 1};
    sum->block++;
    for (; sum->count > 1 && siblings(sum->n, top[-1], top[0]); top--, value -= sum->width) {
        add(sum->width, value - sum->width, value);
        top[-1].hi = top[0].hi;
        sum->count--;
    }
}

float *mltfr_treesum_parts(mltfr_treesum *sum, int *count)
{
    if (count != NULL)
        *count = sum->count;
    return sum->buffers;
}

void mltfr_treesum_destroy(mltfr_treesum **sum)
{
    if (*sum)
        mltfr_room_release(&(*sum)->room);
    MLTFR_FREE(*sum);
}
