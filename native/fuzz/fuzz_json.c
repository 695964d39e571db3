// libFuzzer target: no byte outside of the caller's memory is touched, all paths agree, what is counted is room enough,
// and numbers are those of strtod. README.md in this folder says how to run it.
#include <stdio.h>
#include <stdlib.h>

#include "../json.c"

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "line %d: not %s\n", __LINE__, #condition);                                                \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static void *exactly(const void *content, size_t size) { // ASan sees the first byte beyond it
    void *memory = malloc(size ? size : 1);
    if (size && content) memcpy(memory, content, size);
    return memory;
}

static void check_number(const uint8_t *data, size_t size) {
    uint8_t *text = exactly(data, size);
    Number number;
    Text stop = read_number(text, text + size, &number);
    CHECK(stop >= text && stop <= text + size);
    if (number.kind == REAL || number.kind == UINT || number.kind == SINT) {
        char *ended, *copy = malloc(size + 1);
        memcpy(copy, text, size);
        copy[stop - (Text)text] = 0;
        double want = strtod(copy, &ended), got = as_double(number.bits);
        if (number.kind == UINT) got = (double)number.bits;
        if (number.kind == SINT) got = (double)(int64_t)number.bits;
        CHECK(ended == copy + (stop - (Text)text));
        CHECK(got == want);
        CHECK(number.kind != REAL || memcmp(&got, &want, 8) == 0);
        free(copy);
    }
    free(text);
}

static void check_trees(Text text, size_t size, const Value *values, const float *floats, const Result *result) {
    for (size_t at = 0; at < result->values; at++) {
        CHECK((values[at].tag & 255) <= NUMBERS);
        if ((values[at].tag & 255) != NUMBERS) continue;
        uint64_t count = 1, index, rank = values[at].tag >> 8, begin = values[at].payload;
        CHECK(rank >= 1 && rank <= MOST_DIMENSIONS && at + 2 + rank <= result->values);
        CHECK(text[begin] == '[' && text[(values[at + 1].tag >> 8) - 1] == ']');
        for (size_t i = 0; i < rank; i++) count *= values[at + 2 + i].payload;
        CHECK(count >= FEWEST && values[at + 1].payload + count <= result->floats);
        double *doubles = malloc(8 * count);
        CHECK(zs_convert(text, size, begin, count, 'd', (uint8_t *)doubles, &index) == size && index == count);
        for (size_t i = 0; i < count; i++) {
            float narrow = (float)doubles[i], found = floats[values[at + 1].payload + i];
            // An integer beyond 2^53 is rounded once, by way of a double twice: they may be a unit apart.
            CHECK(memcmp(&narrow, &found, 4) == 0 || (doubles[i] >= 9e15 || doubles[i] <= -9e15));
        }
        free(doubles);
        for (const char *type = "bBhHiIqQ?e"; *type; type++) {
            uint8_t *out = malloc((strchr("qQe", *type) ? 8 : (*type | 32) == 'i' ? 4 : (*type | 32) == 'h' ? 2 : 1) * count);
            uint64_t place = zs_convert(text, size, begin, count, *type, out, &index);
            CHECK(index <= count && (place < size) == (index < count));
            free(out);
        }
        Value first;
        zs_number(text, size, begin, &first);
        CHECK(first.tag >= UINT && first.tag <= REAL);
        at += 1 + rank;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    check_number(data, size);
    uint8_t *text = exactly(data, size);
    size_t room = zs_count(text, size) + 1;
    Result first = {0}, result;
    float *first_floats = NULL;
    Value *first_values = NULL;
    static int paths = -1;
    if (paths < 0) paths = zs_paths(); // CPUID takes 20 us in a virtual machine
    for (int path = -1; path <= paths; path++) {
        Value *values = exactly(NULL, sizeof(Value) * room);
        float *floats = exactly(NULL, sizeof(float) * room);
        zs_read(text, size, values, room, floats, path < 0 ? 0 : room, path, &result);
        CHECK(result.status != FULL && result.status >= 0 && result.status <= BAD_UTF8);
        CHECK(result.position <= size && result.values <= room && result.floats <= room);
        if (path >= 0 && !result.status) check_trees(text, size, values, floats, &result);
        if (path >= 1) {
            CHECK(result.values == first.values && result.floats == first.floats);
            CHECK(memcmp(floats, first_floats, 4 * result.floats) == 0);
            CHECK(memcmp(values, first_values, result.status ? 0 : sizeof(Value) * result.values) == 0);
        }
        if (path >= 0) CHECK(result.status == first.status && result.position == first.position);
        if (path < 0) {
            Value *few = exactly(NULL, sizeof(Value) * (room / 2));
            Result half;
            zs_read(text, size, few, room / 2, floats, 0, path, &half);
            CHECK(half.status == FULL || (half.status == result.status && half.position == result.position));
            free(few);
        }
        if (path == 0) {
            first_floats = floats;
            first_values = values;
        } else {
            free(floats);
            free(values);
        }
        first = result;
    }
    free(first_floats);
    free(first_values);
    free(text);
    return 0;
}
