// Matrix products of one network's layer with the states of a chunk, and transposed planes.
#pragma once

#include <type_traits>
#include <utility>

#include "vectors.hpp"

namespace study {

template <typename T, int rows, int columns, bool add>
inline void tile(int inner, const T* a, int64_t a_row, int64_t a_column, const Vec<T>* b,
                 int64_t b_row, Vec<T>* out, int64_t out_row) {
    Vec<T> sum[rows][columns];
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 2
        for (int c = 0; c < columns; ++c) sum[i][c] = add ? out[i * out_row + c] : Vec<T>{};
    for (int j = 0; j < inner; ++j, b += b_row, a += a_column)
#pragma GCC unroll 8
        for (int i = 0; i < rows; ++i)
#pragma GCC unroll 2
            for (int c = 0; c < columns; ++c) sum[i][c] += a[i * a_row] * b[c];
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 2
        for (int c = 0; c < columns; ++c) out[i * out_row + c] = sum[i][c];
}

template <typename T, int columns, bool add>
inline void strip(int rows, int inner, const T* a, int64_t a_row, int64_t a_column, const Vec<T>* b,
                  int64_t b_row, Vec<T>* out, int64_t out_row) {
    int i = 0;
    for (; i + TALL <= rows; i += TALL)
        tile<T, TALL, columns, add>(inner, a + i * a_row, a_row, a_column, b, b_row,
                                    out + i * out_row, out_row);
    for (; i < rows; i += ROWS)
        tile<T, ROWS, columns, add>(inner, a + i * a_row, a_row, a_column, b, b_row,
                                    out + i * out_row, out_row);
}

// out (rows, columns) = or += A (rows, inner) b (inner, columns); strides of A in numbers, those of
// the rows of b and out in vectors
template <typename T, bool add = false>
void product(int rows, int inner, int columns, const T* a, int64_t a_row, int64_t a_column,
             const Vec<T>* b, int64_t b_row, Vec<T>* out, int64_t out_row) {
    int c = 0;
    for (; c + 2 <= columns; c += 2)
        strip<T, 2, add>(rows, inner, a, a_row, a_column, b + c, b_row, out + c, out_row);
    if (c < columns)
        strip<T, 1, add>(rows, inner, a, a_row, a_column, b + c, b_row, out + c, out_row);
}

// lane l of the result is lane `from[l]` of a and b one after the other
template <typename T, int... from>
inline Vec<T> shuffled(Vec<T> a, Vec<T> b) {
#if defined(__clang__) || __GNUC__ >= 12
    return __builtin_shufflevector(a, b, from...);
#else
    using Index = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
    return __builtin_shuffle(a, b, Vec<Index>{from...});
#endif
}

// exchange the blocks off the diagonal of a square of vectors, in squares of 2 `block`
template <typename T, int block, int... l>
inline void exchange(Vec<T>* v, std::integer_sequence<int, l...>) {
    constexpr int n = LANES<T>;
    for (int i = 0; i < n; ++i)
        if (!(i & block)) {
            const Vec<T> a = v[i], b = v[i + block];
            v[i] = shuffled<T, (l & block ? n + l - block : l)...>(a, b);
            v[i + block] = shuffled<T, (l & block ? n + l : l + block)...>(a, b);
        }
}

template <typename T, int block = 1>
inline void transpose(Vec<T>* v) {
    exchange<T, block>(v, std::make_integer_sequence<int, LANES<T>>{});
    if constexpr (2 * block < LANES<T>) transpose<T, 2 * block>(v);
}

// a plane (units, states) as (states, units), both in vectors
template <typename T>
void transpose(int wide, int vectors, const Vec<T>* plane, Vec<T>* out) {
    constexpr int n = LANES<T>;
    for (int h = 0; h < wide; ++h)
        for (int v = 0; v < vectors; ++v) {
            Vec<T> square[n];
            for (int i = 0; i < n; ++i) square[i] = plane[(h * n + i) * vectors + v];
            transpose<T>(square);
            for (int i = 0; i < n; ++i) out[(v * n + i) * wide + h] = square[i];
        }
}

}  // namespace study
