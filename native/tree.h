// Included once for each path, with NAME, TARGET and, but for the portable one, DIGITS and SIXTEEN defined.

#ifdef DIGITS
// The float of a number such as -0.6871640682220459, whose end has to be looked at by the caller; NULL for any other form
// and for the few whose first 16 digits do not decide. Reads 32 bytes.
static inline TARGET Text GLUE(short_number_, NAME)(Text p, float *result) {
    // Where a number ends is what the next one waits for: one load, and few steps from there.
    uint32_t negative = *p == '-', digits = DIGITS(p) >> negative;
    uint32_t length = (uint32_t)__builtin_ctz(~(digits >> 2)); // of what follows the point
    Text point = p + negative + 1, next = point + 1 + length;
    if (__builtin_expect((digits & 3) != 1 || *point != '.' || length == 0 || negative + length == 30, 0)) return NULL;
    if (__builtin_expect((*next | 32) == 'e', 0)) return NULL;
    uint64_t w = (uint64_t)(point[-1] - '0') * 10000000000000000u + SIXTEEN(point + 1, length < 16 ? length : 16);
    // The number is from w to w+1 times 1e-16. Two doubles around it, each three units in the last place away, that are
    // one float leave no doubt: the double nearest to it is between them.
    double low = (double)(int64_t)w * (1e-16 * (1 - 8e-16));
    double high = (double)(int64_t)(w + (length > 16)) * (1e-16 * (1 + 8e-16));
    float value = (float)low;
    if (__builtin_expect(value != (float)high, 0)) return NULL;
    uint32_t bits;
    memcpy(&bits, &value, 4);
    bits |= negative << 31;
    memcpy(result, &bits, 4);
    return next;
}
#endif

// Reads the array that begins at p as a tree of numbers whose branches are all alike: FP32 into `floats`, its shape and
// more into `tree`. Returns where it ends; NULL where it is no such tree, with tree->stopped, up to where it was one.
static TARGET Text GLUE(read_tree_, NAME)(Text p, Text end, float *floats, size_t room, Tree *tree) {
    uint64_t lengths[MOST_DIMENSIONS], count = 0;
    int depth = 0, deepest = 0, leaves = 0; // `leaves`: the depth of the numbers, once one has been met
    tree->overflow = 0;
open: // p is at a bracket
    if (depth == MOST_DIMENSIONS || (leaves && depth == leaves)) goto no;
    if (depth == deepest) tree->shape[deepest++] = UNKNOWN;
    lengths[depth++] = 0;
    p = skip_space(p + 1, end);
    if (p < end && *p == ']') goto close;
    if (p == end) goto no;
    if (*p == '[') goto open;
    if (leaves ? leaves != depth : deepest > depth) goto no;
    leaves = depth;
    uint64_t before = count;
    for (;;) {
        if (count == room) goto no;
        Text next = NULL;
#ifdef DIGITS
        if (end - p >= 40) next = GLUE(short_number_, NAME)(p, floats + count);
        if (__builtin_expect(!next, 0))
#endif
        {
            next = other_number(p, end, floats + count, &tree->overflow);
            if (!next) goto no;
        }
        count++;
        p = next;
        if (p < end && *p == ',') p++;
        else {
            p = skip_space(p, end);
            if (p == end || *p != ',') break;
            p++;
        }
        if (end - p > 1 && *p == ' ') {
            p++;
            __asm__("" : "+r"(p)); // a branch, which the CPU guesses; a conditional move would have the rest wait for it
        }
        if (p < end && *p <= ' ') p = skip_space(p, end);
        if (p == end || *p == '[') goto no;
    }
    lengths[depth - 1] = count - before;
    if (p == end || *p != ']') goto no;
close: // p is at a closing bracket
    depth--;
    if (tree->shape[depth] == UNKNOWN) tree->shape[depth] = lengths[depth];
    else if (tree->shape[depth] != lengths[depth]) goto no;
    p++;
    if (depth == 0) {
        tree->count = count;
        tree->rank = leaves;
        return p;
    }
    lengths[depth - 1]++;
    p = skip_space(p, end);
    if (p == end) goto no;
    if (*p == ']') goto close;
    if (*p != ',') goto no;
    p = skip_space(p + 1, end);
    if (p == end || *p != '[') goto no;
    goto open;
no:
    tree->stopped = p;
    return NULL;
}
