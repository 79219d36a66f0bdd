// Vectors as long as the processor's registers; all loops are written in them.
#pragma once

#include <cstdint>

namespace study {

#if defined(__AVX512F__)
constexpr int BYTES = 64, TALL = 8;  // of a vector, and rows of a tile of a matrix product
#elif defined(__AVX__)
constexpr int BYTES = 32, TALL = 4;  // sixteen registers hold a tile
#else
constexpr int BYTES = 16, TALL = 4;
#endif
constexpr int ROWS = 4;               // of the smaller tile; widths are padded to it
constexpr int VECTORS = 128 / BYTES;  // in a chunk's row at most: more would not fit the cache

template <typename T>
using Vec [[gnu::vector_size(BYTES)]] = T;
template <typename T>
constexpr int LANES = BYTES / sizeof(T);

template <typename T>
struct Plane {  // (rows, states of a chunk), a few vectors a row
    Vec<T>* at;
};

}  // namespace study
