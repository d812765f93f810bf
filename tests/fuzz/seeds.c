/* Seeds of the fuzzers: the good files of the unit tests, and each of their known faults.
 *   seeds DIRECTORY        makes DIRECTORY/{gguf,safetensors,npy,vocab}/NUMBER */
#include "table_faults.h"

#include <sys/stat.h>

static buffer b;
static const char *directory;

static void save(const char *reader, size_t number)
{
    char path[512];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", directory, reader);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%03zu", directory, reader, number);
    f = fopen(path, "wb");
    if (f == NULL || fwrite(b.data, 1, b.bytes, f) != b.bytes || fclose(f) != 0) {
        perror(path);
        exit(1);
    }
}

/* A good model, its faults, and a small table of each stored type. */
static void gguf_seeds(void)
{
    static const struct {
        uint32_t type;
        int width;
        size_t bytes;
    } kinds[] = {{0, 2, 8},   {1, 2, 4},      {30, 2, 4},     {28, 1, 8},
                 {2, 32, 18}, {3, 32, 20},    {6, 32, 22},    {7, 32, 24},
                 {8, 32, 34}, {12, 256, 144}, {13, 256, 176}, {14, 256, 210}};
    static const uint8_t zeros[256];
    size_t n = 0;

    gguf_model(&b);
    save("gguf", n++);
    for (size_t i = 0; i < sizeof patches / sizeof *patches; i++) {
        gguf_model(&b);
        uint8_t *at = memmem(b.data, b.bytes, patches[i].anchor, strlen(patches[i].anchor));
        memcpy(at + strlen(patches[i].anchor) + patches[i].delta, &patches[i].value,
               (size_t)patches[i].width);
        save("gguf", n++);
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        gguf_table(&b, kinds[i].type, 1, (uint64_t)kinds[i].width, zeros, kinds[i].bytes);
        save("gguf", n++);
    }
}

static void other_seeds(void)
{
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        safetensors(&b, headers[i].header, headers[i].floats);
        save("safetensors", i);
    }
    safetensors(&b, ONE("}"), 4);
    save("safetensors", sizeof headers / sizeof *headers);
    for (size_t i = 0; i < sizeof dictionaries / sizeof *dictionaries; i++) {
        npy(&b, 1, dictionaries[i].header, 6);
        save("npy", i);
    }
    npy(&b, 2, DICT("'<f4'", "False", "(3, 2)"), 6);
    save("npy", sizeof dictionaries / sizeof *dictionaries);
}

/* The first byte is the form. */
static void vocab_seed(int form, const char *text, size_t number)
{
    b.bytes = 0;
    put_int(&b, (uint64_t)form, 1);
    put_text(&b, text);
    save("vocab", number);
}

static void vocab_seeds(void)
{
    static const struct {
        int form;
        const char *text;
    } good[] = {
        {0, ADDED("{\"id\":2,\"content\":\"c\",\"special\":true}", "{\"a\\u0120\":0,\"b\":1}")},
        {0, VOCAB("[[\"a\",-1.5],[\"\\ud83d\\ude00\",0e1]]")},
        {1, "[CLS]\r\na\n\nb"},
        {2, "{\"a\":0,\"\\\"\\n\":1}"},
        {3, "{\"metadata\":{},\"weight_map\":{\"a\":\"x-1.safetensors\",\"b\":\"x-2\"}}"},
    };
    size_t n = 0;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        vocab_seed(good[i].form, good[i].text, n++);
    for (size_t i = 0; i < sizeof vocabularies / sizeof *vocabularies; i++) {
        const char *file = vocabularies[i].file;

        vocab_seed(strcmp(file, "vocab.txt") == 0    ? 1
                   : strcmp(file, "vocab.json") == 0 ? 2
                                                     : 0,
                   vocabularies[i].text, n++);
    }
}

int main(int argc, char *argv[])
{
    if (argc != 2) {
        fprintf(stderr, "usage: seeds DIRECTORY\n");
        return 2;
    }
    directory = argv[1];
    mkdir(directory, 0777);
    gguf_seeds();
    other_seeds();
    vocab_seeds();
    return 0;
}
