// The loss through the integrator: `segments.py`, chunk after chunk of segments.
#pragma once

#include <utility>

#include "network.hpp"

namespace study {

constexpr double STAGE_WEIGHT[] = {1.0 / 6, 1.0 / 3, 1.0 / 3, 1.0 / 6};
constexpr double STAGE_REACH[] = {0.5, 0.5, 1, 0};  // of a step, from its begin to the next stage

template <typename T>
class Segments {
   public:
    // B segments of k samples in D coordinates; `limit` of a deviation; `straightened`: lines do
    // not count
    Segments(Network<T>& network, int D, int64_t k, int64_t B, T limit, bool straightened)
        : network(network), vectors(network.n_vectors()), n(2 * D * vectors), D(D), k(k), B(B),
          limit(limit), straightened(straightened) {
        const size_t count = n * (5 * k + 6) + vectors * (2 * k + 3);
        memory.reset(std::aligned_alloc(BYTES, count * BYTES));
        Vec<T>* at = static_cast<Vec<T>*>(memory.get());
        for (auto rows : {&state, &begun, &change, &adjoint, &pulled, &cotangent})
            *rows = at, at += n;
        stages = at, at += 4 * k * n;
        deviation = at, at += k * n;
        steps = at, at += k * vectors;
        time = at;
    }

    // adds the gradient of one network; its error, and the number of floored mass matrices
    std::pair<double, int64_t> descend(const T* from, int64_t stride) {
        const int S = vectors * LANES<T>;
        double error = 0;
        int64_t floored = 0, inside = 0;
        for (int64_t begin = 0; begin < B; begin += S) {
            const int some = int(std::min<int64_t>(S, B - begin));
            floored += forward(from + begin, stride, some);
            inside += leave_out(some);
            if (straightened) straighten(some);
            error += weigh();
            backward(some);
        }
        return {inside ? error : NAN, floored};
    }

   private:
    Vec<T>* stage(int64_t j, int i) const { return stages + (4 * j + i) * n; }

    // all stages, and the deviations from the samples
    int64_t forward(const T* from, int64_t stride, int some) {
        int64_t floored = 0;
        network.rows(2 * D, state, from, stride, some);
        from += 2 * D * stride;
        for (int v = 0; v < vectors; ++v) time[v] = Vec<T>{};
        for (int64_t j = 0; j < k; ++j, from += (1 + 2 * D) * stride) {
            Vec<T>*h = steps + j * vectors, *apart = deviation + j * n;
            network.rows(1, h, from, stride, some);
            network.rows(2 * D, apart, from + stride, stride, some);
            for (int v = 0; v < vectors; ++v) h[v] -= time[v], time[v] += h[v];
            copy(state, begun), copy(state, stage(j, 0));
            for (int i = 0; i < 4; ++i) {
                floored += network.field(stage(j, i), change, some);
                for (int m = 0; m < n; ++m) {
                    const Vec<T> moved = h[m % vectors] * change[m];
                    state[m] += T(STAGE_WEIGHT[i]) * moved;
                    if (i < 3) stage(j, i + 1)[m] = begun[m] + T(STAGE_REACH[i]) * moved;
                }
            }
            for (int m = 0; m < n; ++m)  // NaN is what was not measured
                apart[m] = apart[m] == apart[m] ? state[m] - apart[m] : Vec<T>{};
        }
        return floored;
    }

    // segments that leave their samples stay at their start, without a deviation, and so do those
    // that fill up the chunk; returns how many are left
    int64_t leave_out(int some) {
        int64_t left = 0;
        const int S = vectors * LANES<T>;
        for (int s = 0; s < S; ++s) {
            bool inside = true;
            for (int64_t row = 0; row < 2 * D * k; ++row)
                inside &= std::abs(number(deviation, row, s)) < limit;  // false for NaN
            left += inside && s < some;
            if (inside && s < some) continue;
            for (int64_t row = 0; row < 2 * D * k; ++row) number(deviation, row, s) = 0;
            for (int64_t row = 2 * D; row < 8 * D * k; ++row)
                number(stages, row, s) = number(stages, row % (2 * D), s);
        }
        return left;
    }

    // takes the best straight line through time out of the deviations of positions
    void straighten(int some) {
        for (int s = 0; s < some; ++s) {
            double middle = 0, t = 0;
            for (int64_t j = 0; j < k; ++j) middle += (t += number(steps, j, s)) / k;
            for (int64_t i = 0; i < D; ++i) {
                double mean = 0, slope = 0, square = 0, since = -middle;
                for (int64_t j = 0; j < k; ++j) {
                    const double apart = number(deviation, 2 * D * j + i, s);
                    since += number(steps, j, s), mean += apart / k;
                    slope += since * apart, square += since * since;
                }
                slope /= square, since = -middle;
                for (int64_t j = 0; j < k; ++j) {
                    since += number(steps, j, s);
                    number(deviation, 2 * D * j + i, s) -= T(mean + slope * since);
                }
            }
        }
    }

    // the chunk's part of the mean error; deviations become its derivatives
    double weigh() {
        double sum = 0;
        const T count = T(2 * D * k * B);
        for (int64_t m = 0; m < k * n; ++m) {
            const Vec<T> of = time[m % vectors], scaled = deviation[m] / (of * of * count);
            const Vec<T> squares = scaled * deviation[m];
            for (int l = 0; l < LANES<T>; ++l) sum += squares[l];
            deviation[m] = 2 * scaled;
        }
        return sum;
    }

    void backward(int some) {
        for (int m = 0; m < n; ++m) adjoint[m] = Vec<T>{};
        for (int64_t j = k - 1; j >= 0; --j) {
            const Vec<T>*h = steps + j * vectors, *apart = deviation + j * n;
            for (int m = 0; m < n; ++m) adjoint[m] += apart[m], pulled[m] = Vec<T>{};
            copy(adjoint, begun);
            for (int i = 3; i >= 0; --i) {
                for (int m = 0; m < n; ++m)
                    cotangent[m] = h[m % vectors] * (T(STAGE_WEIGHT[i]) * begun[m] +
                                                     T(STAGE_REACH[i]) * pulled[m]);
                network.field(stage(j, i), change, some);
                network.pull(cotangent, pulled);
                for (int m = 0; m < n; ++m) adjoint[m] += pulled[m];
            }
        }
    }

    void copy(const Vec<T>* from, Vec<T>* to) const { std::memcpy(to, from, n * BYTES); }
    T& number(Vec<T>* rows, int64_t row, int s) const {
        return reinterpret_cast<T*>(rows + row * vectors)[s];
    }

    Network<T>& network;
    const int vectors, n, D;  // n vectors of one row of states
    const int64_t k, B;
    const T limit;
    const bool straightened;
    Memory memory;
    Vec<T>*state, *begun, *change, *adjoint, *pulled, *cotangent;
    Vec<T>*stages, *deviation, *steps, *time;
};

}  // namespace study
