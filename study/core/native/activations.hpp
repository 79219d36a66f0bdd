// Activations with their first three derivatives, the formulas of `activations.py`, on vectors.
//
// The exponential and the logarithm are series, exact to the last digits of their type. erf, sin and
// cos are those of the C++ library, one state at a time.
#pragma once

#include <cmath>
#include <cstring>

#include "vectors.hpp"

namespace study {

template <typename T>
struct Numbers;
template <>
struct Numbers<float> {
    using Int = int32_t;
    static constexpr int mantissa = 23, bias = 127, exp_terms = 7, log_terms = 7;
    static constexpr float lowest = -87.0f;
};
template <>
struct Numbers<double> {
    using Int = int64_t;
    static constexpr int mantissa = 52, bias = 1023, exp_terms = 13, log_terms = 17;
    static constexpr double lowest = -708.0;
};

template <typename T>
struct Series {  // 1 / k!, and 1 / (2 k + 1)
    T exp[Numbers<T>::exp_terms + 1]{}, log[Numbers<T>::log_terms + 1]{};
    constexpr Series() {
        double factorial = 1;
        for (int k = 0; k <= Numbers<T>::exp_terms; ++k)
            factorial *= k ? k : 1, exp[k] = T(1 / factorial);
        for (int k = 0; k <= Numbers<T>::log_terms; ++k) log[k] = T(1.0 / (2 * k + 1));
    }
};
template <typename T>
constexpr Series<T> SERIES;

// exp(x) for x <= 0: 2^n exp(r), |r| <= ln(2) / 2, by its Taylor series
template <typename T>
inline Vec<T> exp_negative(Vec<T> x) {
    using N = Numbers<T>;
    using I = typename N::Int;
    typedef I IVec __attribute__((vector_size(BYTES)));
    const T high = T(0.693359375), low = T(-2.12194440054690583e-4);  // ln 2, exact times n
    x = x < N::lowest ? Vec<T>{} + N::lowest : x;  // False for NaN, which stays NaN
    IVec n = __builtin_convertvector(x * T(1.4426950408889634074) - T(0.5), IVec);
    Vec<T> whole = __builtin_convertvector(n, Vec<T>);
    Vec<T> r = (x - whole * high) - whole * low, sum = Vec<T>{} + SERIES<T>.exp[N::exp_terms];
#pragma GCC unroll 16
    for (int k = N::exp_terms - 1; k >= 0; --k) sum = sum * r + SERIES<T>.exp[k];
    IVec scale = (n + N::bias) << N::mantissa;
    Vec<T> power;
    std::memcpy(&power, &scale, BYTES);
    return sum * power;
}

// log(1 + e) for 0 <= e <= 1, as 2 atanh(s), s = e / (2 + e) <= 1 / 3: no digit is lost near 0
template <typename T>
inline Vec<T> log1p_small(Vec<T> s) {
    constexpr int terms = Numbers<T>::log_terms;
    Vec<T> square = s * s, sum = Vec<T>{} + SERIES<T>.log[terms];
#pragma GCC unroll 20
    for (int k = terms - 1; k >= 0; --k) sum = sum * square + SERIES<T>.log[k];
    return 2 * s * sum;
}

template <typename T>
struct Bend {
    Vec<T> value, first, second, third;
};

template <typename T>
inline Vec<T> magnitude(Vec<T> z) {
    return z < 0 ? -z : z;
}

template <typename T>
inline Bend<T> softplus(Vec<T> z) {
    Vec<T> e = exp_negative<T>(-magnitude<T>(z)), one = e + 1, two = e + 2;
    Vec<T> both = 1 / (one * two), inverse = two * both;
    Vec<T> s = z < 0 ? e * inverse : inverse, first = e * inverse * inverse;
    Vec<T> value = log1p_small<T>(e * one * both) + (z < 0 ? Vec<T>{} : z);
    return {value, s, first, first * (1 - 2 * s)};
}

template <typename T>
inline Bend<T> tanh_(Vec<T> z) {
    Vec<T> e = exp_negative<T>(-2 * magnitude<T>(z)), t = (1 - e) / (1 + e);
    t = z < 0 ? -t : t;
    Vec<T> first = 1 - t * t;
    return {t, first, -2 * t * first, first * (6 * t * t - 2)};
}

template <typename T>
inline Bend<T> gelu(Vec<T> z) {
    Vec<T> cdf;
    for (int l = 0; l < LANES<T>; ++l) cdf[l] = T(0.5) * (1 + std::erf(z[l] * T(M_SQRT1_2)));
    Vec<T> pdf = exp_negative<T>(z * z * T(-0.5)) * T(0.3989422804014326779);
    return {z * cdf, cdf + z * pdf, pdf * (2 - z * z), pdf * z * (z * z - 4)};
}

template <typename T>
inline Bend<T> silu(Vec<T> z) {
    Vec<T> e = exp_negative<T>(-magnitude<T>(z)), inverse = 1 / (1 + e);
    Vec<T> s = z < 0 ? e * inverse : inverse, s1 = e * inverse * inverse;
    Vec<T> s2 = s1 * (1 - 2 * s), s3 = s2 * (1 - 2 * s) - 2 * s1 * s1;
    return {z * s, s + z * s1, 2 * s1 + z * s2, 3 * s2 + z * s3};
}

template <typename T>
inline Bend<T> sin_(Vec<T> z) {
    Vec<T> sin, cos;
    for (int l = 0; l < LANES<T>; ++l) sin[l] = std::sin(z[l]), cos[l] = std::cos(z[l]);
    return {sin, cos, -sin, -cos};
}

// sigma(beta a) / beta and its derivatives in a, over planes; `value` holds a at first
template <typename T, Bend<T> (*sigma)(Vec<T>)>
void bend(int n, T beta, Vec<T>* value, Vec<T>* first, Vec<T>* second, Vec<T>* third) {
    const T inverse = 1 / beta, square = beta * beta;
    for (int i = 0; i < n; ++i) {
        Bend<T> b = sigma(beta * value[i]);
        value[i] = inverse * b.value, first[i] = b.first;
        second[i] = beta * b.second, third[i] = square * b.third;
    }
}

template <typename T>
using Activation = void (*)(int, T, Vec<T>*, Vec<T>*, Vec<T>*, Vec<T>*);
template <typename T>
constexpr Activation<T> ACTIVATIONS[] = {  // in the order of `__init__.py`
    bend<T, softplus<T>>, bend<T, tanh_<T>>, bend<T, gelu<T>>, bend<T, silu<T>>, bend<T, sin_<T>>};

}  // namespace study
