// Inverses of mass matrices that may be nearly singular, by the rule of `models/mass_matrix.py`.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace study {

// eigenvectors (columns of `v`) and values (diagonal of `m`) of a symmetric matrix, by Jacobi
template <typename T>
void jacobi(int D, T* m, T* v) {
    for (int i = 0; i < D * D; ++i) v[i] = T(i % (D + 1) == 0);
    T largest = 0;  // squares of small entries would be zero
    for (int i = 0; i < D * D; ++i) largest = std::max(largest, std::abs(m[i]));
    const T unit = largest > 0 && std::isfinite(largest) ? 1 / largest : T(1);
    for (int sweep = 0; sweep < 30; ++sweep) {
        T off = 0, all = 0;
        for (int i = 0; i < D; ++i)
            for (int j = 0; j < D; ++j) {
                const T entry = unit * m[i * D + j];
                (i == j ? all : off) += entry * entry;
            }
        if (!(off > std::numeric_limits<T>::epsilon() * std::numeric_limits<T>::epsilon() * all))
            return;  // NaN too
        for (int i = 0; i < D; ++i)
            for (int j = i + 1; j < D; ++j) {
                if (m[i * D + j] == 0) continue;
                T angle = (m[j * D + j] - m[i * D + i]) / (2 * m[i * D + j]);
                T t = (angle < 0 ? T(-1) : T(1)) / (std::abs(angle) + std::hypot(T(1), angle));
                T c = 1 / std::hypot(T(1), t), s = c * t;
                for (int k = 0; k < D; ++k) {
                    T a = m[k * D + i], b = m[k * D + j];
                    m[k * D + i] = c * a - s * b, m[k * D + j] = s * a + c * b;
                    a = v[k * D + i], b = v[k * D + j];
                    v[k * D + i] = c * a - s * b, v[k * D + j] = s * a + c * b;
                }
                for (int k = 0; k < D; ++k) {
                    T a = m[i * D + k], b = m[j * D + k];
                    m[i * D + k] = c * a - s * b, m[j * D + k] = s * a + c * b;
                }
            }
    }
}

template <typename T>
inline T floored(T value, T limit, bool& small) {
    small |= std::abs(value) < limit;
    return std::abs(value) < limit ? (value < 0 ? -limit : limit) : value;
}

// the inverse of m, which is overwritten; returns whether m had to be floored
template <typename T>
bool invert(int D, T floor, T* m, T* out, T* scratch) {
    const T tiny = std::numeric_limits<T>::min();
    bool small = false;
    if (D > 3) {
        jacobi(D, m, scratch);
        T largest = 0;
        for (int i = 0; i < D; ++i) {
            T size = std::abs(m[i * D + i]);
            largest = size > largest || std::isnan(size) ? size : largest;
        }
        for (int i = 0; i < D * D; ++i) out[i] = 0;
        for (int k = 0; k < D; ++k) {
            T value = floored(m[k * D + k], floor * largest + tiny, small);
            for (int i = 0; i < D; ++i)
                for (int j = 0; j < D; ++j)
                    out[i * D + j] += scratch[i * D + k] * scratch[j * D + k] / value;
        }
        return small;
    }
    T det, squares = 0;
    for (int i = 0; i < D * D; ++i) squares += m[i] * m[i];
    if (D == 1) {
        det = m[0], out[0] = 1;
    } else if (D == 2) {
        det = m[0] * m[3] - m[1] * m[1];
        out[0] = m[3], out[1] = out[2] = -m[1], out[3] = m[0];
    } else {
        T a = m[0], b = m[1], c = m[2], d = m[4], e = m[5], f = m[8];
        out[0] = d * f - e * e, out[1] = out[3] = c * e - b * f, out[2] = out[6] = b * e - c * d;
        out[4] = a * f - c * c, out[5] = out[7] = b * c - a * e, out[8] = a * d - b * b;
        det = a * out[0] + b * out[1] + c * out[2];
    }
    T root = std::sqrt(squares / D), power = root;
    for (int i = 1; i < D; ++i) power *= root;
    det = floored(det, floor * power + tiny, small);
    for (int i = 0; i < D * D; ++i) out[i] /= det;
    return small;
}

}  // namespace study
