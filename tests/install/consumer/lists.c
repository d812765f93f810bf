/* lists CHECKPOINT TOP_K SEQUENCES|- [SETTING...]: what `mltfr_dist recommend` writes as CSV, for
 * sequences of item ids with tabs between, or for all users.  Each score of the lists is looked up
 * among all scores. */
#include <mltfr/serve.h>

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 4096 };

static mltfr_serve_history histories[MOST];
static const char *names[MOST]; /* NULL: the line's number */
static int64_t count;

static void fail(const char *what)
{
    fprintf(stderr, "lists: %s\n", what);
    exit(1);
}

static void all_users(const mltfr_server *server)
{
    for (count = 0; count < mltfr_serve_users(server); count++) {
        names[count] = mltfr_serve_user_id(server, count);
        if (mltfr_serve_find_user(server, names[count]) != count)
            fail("a user is not found by his id");
        histories[count] = mltfr_serve_user_history(server, count);
    }
}

static void sequences(const mltfr_server *server, const char *path)
{
    FILE *file = fopen(path, "r");
    char line[MOST];

    if (file == NULL)
        fail(path);
    for (; fgets(line, sizeof line, file) != NULL; count++) {
        int32_t *items = malloc(MOST * sizeof *items);
        int64_t n = 0;

        for (char *id = strtok(line, "\t\n"); id != NULL; id = strtok(NULL, "\t\n"))
            if ((items[n] = mltfr_serve_find_item(server, id)) > 0)
                n++;
        histories[count] = (mltfr_serve_history){items, n};
    }
    fclose(file);
}

/* An id as a field of CSV, as RFC 4180 has it. */
static void print_id(const char *id)
{
    const int quoted = strpbrk(id, ",\"\r\n") != NULL;

    if (quoted)
        putchar('"');
    for (; *id != '\0'; id++)
        printf(*id == '"' ? "\"\"" : "%c", *id);
    if (quoted)
        putchar('"');
}

static void print(const mltfr_server *server, const mltfr_serve_item *top, int64_t top_k)
{
    puts(names[0] != NULL ? "user_id,item_id,rank,score" : "line,item_id,rank,score");
    for (int64_t i = 0; i < count; i++)
        for (int64_t k = 0; k < top_k && top[i * top_k + k].item > 0; k++) {
            if (names[i] != NULL)
                print_id(names[i]);
            else
                printf("%lld", (long long)i + 1);
            putchar(',');
            print_id(mltfr_serve_item_id(server, top[i * top_k + k].item));
            printf(",%lld,%.9g\n", (long long)k + 1, (double)top[i * top_k + k].score);
        }
}

static void check_scores(mltfr_server *server, const mltfr_serve_item *top, int64_t top_k)
{
    const int64_t items = mltfr_serve_items(server);
    float *scores = malloc((size_t)(count * items) * sizeof *scores);

    if (mltfr_serve_score(server, count, histories, scores) != 0)
        fail(mltfr_serve_error());
    for (int64_t i = 0; i < count * top_k; i++)
        if (top[i].item > 0 && scores[i / top_k * items + top[i].item - 1] != top[i].score)
            fail("a list and the scores differ");
    free(scores);
}

int main(int argc, char *argv[])
{
    const int64_t top_k = argc > 3 ? atoi(argv[2]) : 0;
    mltfr_server *server;
    mltfr_serve_item *top;
    int status;

    setlocale(LC_ALL, ""); /* as most programs do */
    if (argc <= 3)
        fail("needs CHECKPOINT TOP_K SEQUENCES|- [SETTING...]");
    if ((status = mltfr_serve_open(argv[1], (const char *const *)argv + 4, &server)) != 0) {
        fprintf(stderr, "lists: %s\n", mltfr_serve_error());
        return status;
    }
    if (strcmp(argv[3], "-") != 0)
        sequences(server, argv[3]);
    else
        all_users(server);
    top = malloc((size_t)(count * top_k) * sizeof *top);
    if ((status = mltfr_serve_recommend(server, count, histories, NULL, MLTFR_SERVE_NEW, top_k,
                                        top)) != 0) {
        fprintf(stderr, "lists: %s\n", mltfr_serve_error());
        return status;
    }
    print(server, top, top_k);
    check_scores(server, top, top_k);
    free(top);
    mltfr_serve_close(&server);
    return 0;
}
