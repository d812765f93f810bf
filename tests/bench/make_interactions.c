/* Twenty million rows of interactions as CSV on stdout, to time the reading of data
 * (docs/results/verbs.md):
 *
 *      cc -O2 -o make_interactions tests/bench/make_interactions.c && ./make_interactions >big.csv
 */
#include <stdint.h>
#include <stdio.h>

static uint32_t draw(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

int main(void)
{
    uint64_t state = 1;

    puts("user_id,item_id,timestamp");
    for (int i = 0; i < 20000000; i++) {
        const uint32_t user = draw(&state);
        const double x = draw(&state) / 2147483648.;

        printf("user%u,B%07u,%u\n", user % 1000000, (unsigned)(x * x * x * 300000),
               1400000000 + (unsigned)i / 8 + user % 1000);
    }
    return 0;
}
