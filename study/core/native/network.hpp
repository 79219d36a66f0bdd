// The base of the three models: layers, chunks of states, the last step of the gradient.
//
// The algebra and the names are those of `mlp.py` and `model.py`; only the order of the work differs.
// A network takes its states in chunks of a few vectors, so that everything between the two sweeps of
// a chunk stays in the processor's caches. Tensors of a whole batch would go through memory. Vectors
// lie along the states.
//
// A plane is (rows, states of a chunk): one stream of one layer, one row for each unit. Rows are
// padded with units of zero weight to a multiple of ROWS, so that no loop has a remainder. The last
// chunk is filled up with copies of the last state, whose cotangent is zero.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "activations.hpp"
#include "forces.hpp"
#include "mass_matrix.hpp"
#include "products.hpp"
#include "vectors.hpp"

namespace study {

struct Shape {  // `Network` of `__init__.py`
    int64_t model, n_dof, width, depth, activation;  // `model` in the order of `__init__.py`
    int64_t angles;                                  // a bit for each coordinate that is encoded
    int64_t friction, n_inputs;                      // none, diagonal, matrix; inputs below qdot
    double beta, mass_prior, floor;
};

// a = W h + b; weights padded, gradients in whole vectors
template <typename T>
struct Layer {
    int rows, columns, padded_rows, padded_columns, wide;  // `wide` vectors a row of the gradient
    int64_t at;                                            // its offset in theta
    std::vector<T> weights, biases;
    Vec<T>*gradient, *bias_gradient;  // the bias one is a sum over its lanes
};

struct Free {
    void operator()(void* p) const { std::free(p); }
};
using Memory = std::unique_ptr<void, Free>;  // for vectors, of which a template drops the alignment

template <typename T>
class Network {
   public:
    // `rates` that a network sees: none, or D, or more if inputs are among them
    Network(const Shape& shape, int rates, int n_outputs, int64_t B)
        : shape(shape), D(shape.n_dof), K(shape.depth), m(shape.n_inputs), B(B) {
        for (int i = 0; i < D; ++i) I += angle(i) ? 2 : 1;
        vectors = int(std::min<int64_t>(VECTORS, (B + LANES<T> - 1) / LANES<T>));
        S = vectors * LANES<T>;
        layers.resize(K + 1);
        for (int k = 0, in = I + rates; k <= K; ++k) {
            Layer<T>& l = layers[k];
            l.rows = k < K ? int(shape.width) : n_outputs, l.columns = in, l.at = P;
            l.padded_rows = round_up(l.rows, ROWS), l.padded_columns = round_up(in, ROWS);
            l.wide = round_up(in, std::max(LANES<T>, ROWS)) / LANES<T>;
            l.weights.resize(size_t(l.padded_rows) * l.padded_columns);
            l.biases.resize(l.padded_rows);
            l.gradient = take(size_t(l.padded_rows) * l.wide), l.bias_gradient = take(l.padded_rows);
            P += int64_t(in + 1) * l.rows, in = l.rows;
        }
        n = layers[0].padded_rows * vectors;
        const bool beside = shape.model != 2;  // inputs of an acceleration MLP are its own
        forces = std::make_unique<Forces<T>>(beside ? int(shape.friction) : 0, D, beside ? m : 0,
                                             vectors);
        P += forces->count();
        forces->place(take(forces->count()), take(D * vectors), take(D * vectors));
        qdot = take((D + m) * vectors);
        for (auto rows : {&q, &target, &qddot, &u, &z, &c, &g}) *rows = take(D * vectors);
        mass = take(D * D * vectors), inverse = take(D * D * vectors);
        matrix.resize(3 * D * D);
    }
    virtual ~Network() = default;

    int n_vectors() const { return vectors; }

    int64_t n_params() const { return P; }

    // take over the weights of one network; its gradient is zero
    void load(const T* theta) {
        for (Layer<T>& l : layers) {
            for (int i = 0; i < l.rows; ++i, theta += l.columns)
                std::memcpy(&l.weights[size_t(i) * l.padded_columns], theta, l.columns * sizeof(T));
            std::memcpy(l.biases.data(), theta, l.rows * sizeof(T));
            theta += l.rows;
            std::memset(l.gradient, 0, size_t(l.padded_rows) * l.wide * BYTES);
            std::memset(l.bias_gradient, 0, l.padded_rows * BYTES);
        }
        forces->load(theta);
    }

    // the gradient, in the order of theta
    void unload(T* theta) const {
        for (const Layer<T>& l : layers) {
            for (int i = 0; i < l.rows; ++i, theta += l.columns)
                std::memcpy(theta, l.gradient + i * l.wide, l.columns * sizeof(T));
            for (int i = 0; i < l.rows; ++i, ++theta) {
                *theta = 0;
                for (int lane = 0; lane < LANES<T>; ++lane) *theta += l.bias_gradient[i][lane];
            }
        }
        forces->unload(theta);
    }

    // accelerations of states whose rows are `stride` apart, with a call of `then` after each chunk;
    // returns the number of states with a floored mass matrix
    template <typename Then>
    int64_t sweep(const T* q_, const T* qdot_, int64_t stride, Then then) {
        int64_t floored = 0;
        for (int64_t begin = 0; begin < B; begin += S) {
            const int some = int(std::min<int64_t>(S, B - begin));
            rows(D, q, q_ + begin, stride, some), rows(D + m, qdot, qdot_ + begin, stride, some);
            floored += forward(some);
            then(begin, some);
        }
        return floored;
    }

    void accelerations(int64_t begin, int some, T* out) const {
        for (int i = 0; i < D; ++i)
            std::memcpy(out + i * B + begin, lane(qddot, i), some * sizeof(T));
    }

    // add the chunk's gradient; returns its part of the mean error
    double gradient(const T* target_, int64_t stride, int some, bool absolute) {
        rows(D, target, target_, stride, some);
        double sum = 0;
        const T count = T(B * D);
        for (int i = 0; i < D; ++i)
            for (int s = 0; s < S; ++s) {
                const T r = lane(qddot, i)[s] - lane(target, i)[s];
                const T slope = absolute ? T(r > 0) - T(r < 0) : 2 * r;
                // the sign of NaN is NaN
                lane(z, i)[s] = s < some ? (r == r ? slope : r) / count : T(0);
                if (s < some) sum += absolute ? std::abs(r) : r * r;
            }
        each = nullptr;
        backward();
        return sum / count;
    }

    // d qddot / d theta of each state of the chunk: one row for each parameter, `row` numbers apart
    void jacobian(int some_, T* out, int64_t row) {
        for (int i = 0; i < D; ++i) {
            for (int j = 0; j < D * vectors; ++j) z[j] = Vec<T>{} + T(j / vectors == i);
            each = out + i * B, each_row = row, some = some_;
            backward();
        }
    }

    // rows of a chunk, filled up with copies of their last state
    void rows(int count, Vec<T>* to, const T* from, int64_t stride, int some) const {
        for (int i = 0; i < count; ++i) {
            T* row = lane(to, i);
            std::memcpy(row, from + i * stride, some * sizeof(T));
            std::fill(row + some, row + S, row[some - 1]);
        }
    }

    // (qdot, qddot) at states (q, qdot) of a chunk; returns the number of floored matrices
    int64_t field(const Vec<T>* state, Vec<T>* out, int some) {
        const size_t half = D * vectors, bytes = half * BYTES;
        std::memcpy(q, state, bytes), std::memcpy(qdot, state + half, bytes);
        const int64_t floored = forward(some);
        std::memcpy(out, qdot, bytes), std::memcpy(out + half, qddot, bytes);
        return floored;
    }

    // the gradient of <cotangent, field> in the states of the last `field`; that in theta is added
    void pull(const Vec<T>* cotangent, Vec<T>* out) {
        const int half = D * vectors;
        std::memcpy(z, cotangent + half, half * BYTES);
        each = nullptr;
        backward();
        pull_states(out, out + half);
        for (int i = 0; i < half; ++i) out[half + i] += cotangent[i];
        forces->pull(out + half);
    }

   protected:
    virtual int64_t forward(int some) = 0;  // qddot of the chunk; returns the floored matrices
    virtual void backward() = 0;            // d<z, qddot>/dtheta, handed to `collect`
    virtual void pull_states(Vec<T>* to_q, Vec<T>* to_qdot) = 0;  // after `backward`

    static int round_up(int64_t n, int64_t to) { return int((n + to - 1) / to * to); }
    bool angle(int i) const { return shape.angles >> i & 1; }
    T* lane(Vec<T>* rows, int i) const { return reinterpret_cast<T*>(rows + i * vectors); }

    Vec<T>* take(size_t count) {  // zeros; they live as long as the network
        memory.emplace_back(std::aligned_alloc(BYTES, (count + 1) * BYTES));
        return static_cast<Vec<T>*>(std::memset(memory.back().get(), 0, (count + 1) * BYTES));
    }

    // a plane, or several side by side, with room for the vectors that `turn` reads
    Vec<T>* take_planes(int count, int rows) {
        const int whole = round_up(rows, std::max(LANES<T>, ROWS));
        return take(size_t(count - 1) * round_up(rows, ROWS) * vectors + size_t(whole) * vectors);
    }

    // the inputs that depend on q
    void encode(Vec<T>* x) const {
        for (int i = 0; i < D; ++i) {
            const T* from = lane(q, i);
            T* to = lane(x, 0);
            if (!angle(i)) std::memcpy(to, from, S * sizeof(T));
            if (angle(i))
                for (int s = 0; s < S; ++s) to[s] = std::cos(from[s]), to[S + s] = std::sin(from[s]);
            x += (angle(i) ? 2 : 1) * vectors;
        }
    }

    // the encoding's Jacobian applied to a tangent in q, where x is the encoded q
    void push(const Vec<T>* x, const Vec<T>* tangent, Vec<T>* out) const {
        for (int i = 0; i < D; ++i, tangent += vectors) {
            for (int v = 0; v < vectors; ++v) {
                out[v] = angle(i) ? -x[vectors + v] * tangent[v] : tangent[v];
                if (angle(i)) out[vectors + v] = x[v] * tangent[v];
            }
            x += (angle(i) ? 2 : 1) * vectors, out += (angle(i) ? 2 : 1) * vectors;
        }
    }

    // the encoding's transposed Jacobian applied to an adjoint of the inputs
    void pull_input(const Vec<T>* x, const Vec<T>* adjoint, Vec<T>* out) const {
        for (int i = 0; i < D; ++i, out += vectors) {
            for (int v = 0; v < vectors; ++v)
                out[v] = angle(i) ? x[v] * adjoint[vectors + v] - x[vectors + v] * adjoint[v]
                                  : adjoint[v];
            x += (angle(i) ? 2 : 1) * vectors, adjoint += (angle(i) ? 2 : 1) * vectors;
        }
    }

    // add the derivative in q of <adjoint, push of the tangent>
    void bend_input(const Vec<T>* x, const Vec<T>* adjoint, const Vec<T>* tangent,
                    Vec<T>* out) const {
        for (int i = 0; i < D; ++i, out += vectors, tangent += vectors) {
            for (int v = 0; angle(i) && v < vectors; ++v)
                out[v] -= (x[v] * adjoint[v] + x[vectors + v] * adjoint[vectors + v]) * tangent[v];
            x += (angle(i) ? 2 : 1) * vectors, adjoint += (angle(i) ? 2 : 1) * vectors;
        }
    }

    // W_k times a plane
    void up(int k, const Vec<T>* from, Vec<T>* to) const {
        const Layer<T>& l = layers[k];
        product<T>(l.padded_rows, l.padded_columns, vectors, l.weights.data(), l.padded_columns, 1,
                   from, vectors, to, vectors);
    }

    // W_k^T times a plane
    void down(int k, const Vec<T>* from, Vec<T>* to) const {
        const Layer<T>& l = layers[k];
        product<T>(l.padded_columns, l.padded_rows, vectors, l.weights.data(), 1, l.padded_columns,
                   from, vectors, to, vectors);
    }

    void add_bias(int k, Vec<T>* plane) const {
        const Layer<T>& l = layers[k];
        for (int h = 0; h < l.padded_rows; ++h)
            for (int v = 0; v < vectors; ++v) plane[h * vectors + v] += l.biases[h];
    }

    // one value for each unit, the same for all states
    void fill(int rows, const T* values, int64_t stride, Vec<T>* plane) const {
        for (int h = 0; h < rows; ++h)
            for (int v = 0; v < vectors; ++v) plane[h * vectors + v] = Vec<T>{} + values[h * stride];
    }

    // sigma of hidden units, in place, and its derivatives
    void activate(Vec<T>* value, Vec<T>* first, Vec<T>* second, Vec<T>* third) const {
        ACTIVATIONS<T>[shape.activation](n, T(shape.beta), value, first, second, third);
    }

    // a layer's part of the gradient or of the Jacobian, from `streams` planes of adjoints of its
    // output and of its input, and the adjoint of its bias (null if L does not depend on it)
    void collect(int k, int streams, const Plane<T>* adjoint, const Plane<T>* below,
                 const Vec<T>* of_bias) {
        Layer<T>& l = layers[k];
        if (each) return collect_each(l, streams, adjoint, below, of_bias);
        if (turned.size() < size_t(streams) * S * l.wide * LANES<T>)
            turned.resize(size_t(streams) * S * l.wide * LANES<T> + LANES<T>);
        auto at = reinterpret_cast<uintptr_t>(turned.data()) + BYTES - 1;
        Vec<T>* flat = reinterpret_cast<Vec<T>*>(at / BYTES * BYTES);
        for (int s = 0; s < streams; ++s) {
            transpose<T>(l.wide, vectors, below[s].at, flat);
            product<T, true>(l.padded_rows, S, l.wide, reinterpret_cast<const T*>(adjoint[s].at), S, 1,
                             flat, l.wide, l.gradient, l.wide);
        }
        if (of_bias)
            for (int h = 0; h < l.padded_rows; ++h)
                for (int v = 0; v < vectors; ++v) l.bias_gradient[h] += of_bias[h * vectors + v];
    }

    // qddot = M^-1 (g - c + Q) and M^-1, from the upper triangle of M without its prior
    int64_t solve(int some) {
        int64_t count = 0;
        if (forces->any()) forces->subtract(qdot, c);
        T *m = matrix.data(), *out = m + D * D;
        for (int s = 0; s < S; ++s) {
            for (int i = 0; i < D; ++i)
                for (int j = i; j < D; ++j)
                    m[i * D + j] = m[j * D + i] =
                        lane(mass, i * D + j)[s] + (i == j ? T(shape.mass_prior) : T(0));
            count += invert(D, T(shape.floor), m, out, out + D * D) && s < some;
            for (int i = 0; i < D; ++i) {
                T sum = 0;
                for (int j = 0; j < D; ++j) {
                    lane(inverse, i * D + j)[s] = out[i * D + j];
                    sum += out[i * D + j] * (lane(g, j)[s] - lane(c, j)[s]);
                }
                lane(qddot, i)[s] = sum;
            }
        }
        return count;
    }

    // M^-T z; with forces the gradient of A and B too, because Q stands beside g and c
    void solve_transposed(Vec<T>* out) {
        for (int i = 0; i < D; ++i)
            for (int v = 0; v < vectors; ++v) {
                Vec<T> sum{};
                for (int j = 0; j < D; ++j)
                    sum += inverse[(j * D + i) * vectors + v] * z[j * vectors + v];
                out[i * vectors + v] = sum;
            }
        T* to = each ? each + (P - forces->count()) * each_row : nullptr;
        if (forces->any()) forces->differentiate(out, qdot, to, each_row, some);
    }

    const Shape shape;
    int D, K, m, I = 0, vectors, S, n = 0;  // m inputs; n vectors of a plane of hidden units
    int64_t B, P = 0;
    std::vector<Layer<T>> layers;
    Vec<T>*q, *qdot, *target, *qddot, *u, *z, *c, *g, *mass, *inverse;

   private:
    void collect_each(const Layer<T>& l, int streams, const Plane<T>* adjoint,
                      const Plane<T>* below, const Vec<T>* of_bias) const {
        T* out = each + l.at * each_row;
        Vec<T> sum[VECTORS];
        for (int h = 0; h < l.rows; ++h)
            for (int j = 0; j < l.columns; ++j, out += each_row) {
                for (int v = 0; v < vectors; ++v)
                    sum[v] = adjoint[0].at[h * vectors + v] * below[0].at[j * vectors + v];
                for (int s = 1; s < streams; ++s)
                    for (int v = 0; v < vectors; ++v)
                        sum[v] += adjoint[s].at[h * vectors + v] * below[s].at[j * vectors + v];
                std::memcpy(out, sum, some * sizeof(T));
            }
        for (int h = 0; h < l.rows; ++h, out += each_row) {
            std::memset(out, 0, some * sizeof(T));
            if (of_bias) std::memcpy(out, of_bias + h * vectors, some * sizeof(T));
        }
    }

    std::vector<Memory> memory;
    std::vector<T> matrix, turned;
    std::unique_ptr<Forces<T>> forces;
    T* each = nullptr;  // the Jacobian to fill
    int64_t each_row = 0;
    int some = 0;
};

}  // namespace study
