// Forces beside a Lagrangian, Q = -A A^T qdot + B u: the formulas of `damping.py` on a chunk of states.
#pragma once

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "vectors.hpp"

namespace study {

// Rows of a chunk are `vectors` long; the m inputs u stand below the D rows of qdot.
template <typename T>
class Forces {
   public:
    // `friction`: none, diagonal, matrix
    Forces(int friction, int D, int m, int vectors) : D(D), m(m), vectors(vectors) {
        for (int i = 0; i < D && friction; ++i)
            for (int j = friction == 1 ? i : 0; j <= i; ++j) places.push_back({i, j});
        A.resize(D * D), B.resize(D * m);
    }

    int count() const { return int(places.size()) + D * m; }  // of parameters: A, then B by rows
    bool any() const { return count() > 0; }

    // where the gradient is summed up, and room for A^T qdot and A^T w
    void place(Vec<T>* sums, Vec<T>* of_qdot_, Vec<T>* of_w_) {
        gradient = sums, of_qdot = of_qdot_, of_w = of_w_;
    }

    void load(const T* theta) {
        for (auto [i, j] : places) A[i * D + j] = *theta++;
        std::copy_n(theta, D * m, B.begin());
        std::memset(gradient, 0, count() * BYTES);
    }

    void unload(T* theta) const {
        for (int k = 0; k < count(); ++k, ++theta) {
            *theta = 0;
            for (int lane = 0; lane < LANES<T>; ++lane) *theta += gradient[k][lane];
        }
    }

    // take Q from `force`
    void subtract(const Vec<T>* rates, Vec<T>* force) {
        transposed(rates, of_qdot);
        add_friction(of_qdot, T(1), force);
        for (int i = 0; i < D; ++i)
            for (int k = 0; k < m; ++k)
                for (int v = 0; v < vectors; ++v)
                    force[i * vectors + v] -= B[i * m + k] * rates[(D + k) * vectors + v];
    }

    // d<w, Q>/dA and /dB: added up, or of each of `some` states, `row` numbers apart, if there is `each`
    void differentiate(const Vec<T>* w, const Vec<T>* rates, T* each, int64_t row, int some) {
        transposed(w, of_w);
        Vec<T> slope[VECTORS];
        for (int k = 0; k < count(); ++k) {
            for (int v = 0; v < vectors; ++v) {
                slope[v] = k < int(places.size()) ? of_friction(places[k], w, rates, v)
                                                  : of_input(k - int(places.size()), w, rates, v);
                if (!each) gradient[k] += slope[v];
            }
            if (each) std::memcpy(each + k * row, slope, some * sizeof(T));
        }
    }

    // add d<w, Q>/dqdot, w that of the last `differentiate`
    void pull(Vec<T>* to_qdot) const { add_friction(of_w, T(-1), to_qdot); }

   private:
    Vec<T> of_friction(std::pair<int, int> place, const Vec<T>* w, const Vec<T>* rates, int v) const {
        const int i = place.first * vectors + v, j = place.second * vectors + v;
        return -(w[i] * of_qdot[j] + rates[i] * of_w[j]);
    }
    Vec<T> of_input(int at, const Vec<T>* w, const Vec<T>* rates, int v) const {
        return w[at / m * vectors + v] * rates[(D + at % m) * vectors + v];
    }

    // A^T times rows
    void transposed(const Vec<T>* from, Vec<T>* to) const {
        std::memset(to, 0, D * vectors * BYTES);
        for (auto [i, j] : places)
            for (int v = 0; v < vectors; ++v)
                to[j * vectors + v] += A[i * D + j] * from[i * vectors + v];
    }

    // add A times rows
    void add_friction(const Vec<T>* from, T factor, Vec<T>* to) const {
        for (auto [i, j] : places)
            for (int v = 0; v < vectors; ++v)
                to[i * vectors + v] += factor * A[i * D + j] * from[j * vectors + v];
    }

    const int D, m, vectors;
    std::vector<std::pair<int, int>> places;  // the entries of A that are trained
    std::vector<T> A, B;
    Vec<T>*gradient = nullptr, *of_qdot = nullptr, *of_w = nullptr;
};

}  // namespace study
