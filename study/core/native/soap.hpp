// One step of SOAP for each network: `soap` of `soap.py`, a layer at a time.
//
// A layer's matrices are copied into padded ones, whose rows are whole vectors.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "adam.hpp"
#include "products.hpp"

namespace study {

// (rows, columns), padded with zeros to whole vectors and tiles
template <typename T>
struct Matrix {
    int rows, columns, wide;  // `wide` vectors a row
    Vec<T>* at;

    Matrix(int rows, int columns)
        : rows(rows), columns(columns), wide(pad(columns, std::max(LANES<T>, ROWS)) / LANES<T>) {
        const size_t count = size_t(pad(rows, TALL)) * wide * BYTES;
        at = static_cast<Vec<T>*>(std::memset(std::aligned_alloc(BYTES, count), 0, count));
    }
    Matrix(const Matrix&) = delete;
    ~Matrix() { std::free(at); }

    static int pad(int n, int to) { return (n + to - 1) / to * to; }
    int stride() const { return wide * LANES<T>; }
    T* row(int i) const { return reinterpret_cast<T*>(at + i * wide); }

    void load(const T* from) {
        for (int i = 0; i < rows; ++i) std::memcpy(row(i), from + i * columns, columns * sizeof(T));
    }
    void store(T* to) const {
        for (int i = 0; i < rows; ++i) std::memcpy(to + i * columns, row(i), columns * sizeof(T));
    }
    void transpose(Matrix& out) const {
        for (int i = 0; i < rows; ++i)
            for (int j = 0; j < columns; ++j) out.row(j)[i] = row(i)[j];
    }
};

// out = a b
template <typename T>
void multiply(const Matrix<T>& a, const Matrix<T>& b, Matrix<T>& out) {
    product<T>(Matrix<T>::pad(out.rows, ROWS), b.rows, b.wide, a.row(0), a.stride(), 1, b.at, b.wide,
               out.at, out.wide);
}

// what is kept of one side of a layer: the mean of G G^T or of G^T G, and the basis
template <typename T>
struct Side {
    Matrix<T> mean, basis, flipped, work, turn;
    T *mean_at, *basis_at;

    Side(int n, T* mean_at, T* basis_at)
        : mean(n, n), basis(n, n), flipped(n, n), work(n, n), turn(n, n), mean_at(mean_at),
          basis_at(basis_at) {
        mean.load(mean_at), basis.load(basis_at);
        basis.transpose(flipped);
    }

    // the mean, after G times its transpose was left in `work`
    void remember(T weight) {
        for (int i = 0; i < mean.rows * mean.wide; ++i) mean.at[i] += weight * (work.at[i] - mean.at[i]);
        mean.store(mean_at);
    }

    // one step of orthogonal iteration: the basis, its transpose and, in `turn`, new^T old
    bool follow(T shift) {
        const int n = mean.rows;
        T trace = 0;
        for (int i = 0; i < n; ++i) trace += mean.row(i)[i];
        if (!(trace > 0)) return false;
        multiply(flipped, mean, work);  // rows: columns of mean * basis
        for (int i = 0; i < n * mean.wide; ++i) work.at[i] = work.at[i] / trace + shift * flipped.at[i];
        for (int i = 0; i < n; ++i) {  // Gram-Schmidt, twice
            for (int pass = 0; pass < 2; ++pass)
                for (int j = 0; j < i; ++j) add(i, j, -dot(i, j));
            const T size = std::sqrt(dot(i, i));
            for (int v = 0; v < mean.wide; ++v) work.at[i * mean.wide + v] /= size;
        }
        multiply(work, basis, turn);
        std::swap(work.at, flipped.at);
        flipped.transpose(basis);
        basis.store(basis_at);
        return true;
    }

   private:
    T dot(int i, int j) const {
        Vec<T> sum{};
        for (int v = 0; v < work.wide; ++v) sum += work.at[i * work.wide + v] * work.at[j * work.wide + v];
        T all = 0;
        for (int lane = 0; lane < LANES<T>; ++lane) all += sum[lane];
        return all;
    }
    void add(int i, int j, T factor) {
        for (int v = 0; v < work.wide; ++v) work.at[i * work.wide + v] += factor * work.at[j * work.wide + v];
    }
};

template <typename T>
struct Soap {
    T *theta, *mean, *square, *left, *right, *left_basis, *right_basis;
};

template <typename T>
void soap_layer(const Step& step, bool turn, T shift, int m, int k, T scale, const T* gradient,
                const Soap<T>& at) {
    const int inputs = k - 1;
    Side<T> left(m, at.left, at.left_basis), right(k, at.right, at.right_basis);
    Matrix<T> G(m, k), flipped(k, m), mean(m, k), square(m, k), one(m, k), two(m, k);
    for (int i = 0; i < m; ++i) {
        for (int j = 0; j < inputs; ++j) G.row(i)[j] = scale * gradient[i * inputs + j];
        G.row(i)[inputs] = scale * gradient[m * inputs + i];
    }
    G.transpose(flipped), mean.load(at.mean), square.load(at.square);
    multiply(left.flipped, G, one), multiply(one, right.basis, two);
    const Rule<T> rule(step);
    T *g = two.row(0), *first = mean.row(0), *second = square.row(0), *change = one.row(0);
    for (int i = 0; i < m * mean.stride(); ++i) change[i] = rule(g[i], first[i], second[i]);
    multiply(left.basis, one, two), multiply(two, right.flipped, one);
    for (int i = 0; i < m; ++i) {
        for (int j = 0; j < inputs; ++j) at.theta[i * inputs + j] -= one.row(i)[j];
        at.theta[m * inputs + i] -= one.row(i)[inputs];
    }
    multiply(G, flipped, left.work), left.remember(rule.of_square);
    multiply(flipped, G, right.work), right.remember(rule.of_square);
    if (turn && left.follow(shift)) multiply(left.turn, mean, one), std::swap(one.at, mean.at);
    if (turn && right.follow(shift)) {
        right.turn.transpose(right.work);
        multiply(mean, right.work, one), std::swap(one.at, mean.at);
    }
    mean.store(at.mean), square.store(at.square);
}

// `sizes`: (inputs, outputs) of each layer; `at` goes through the networks, layer by layer
template <typename T>
void soap(const Step& step, bool turn, double shift, int64_t layers, const int64_t* sizes, int64_t R,
          const T* loss, const T* gradient, Soap<T> at, bool* alive) {
    int64_t P = 0;
    for (int64_t l = 0; l < layers; ++l) P += (sizes[2 * l] + 1) * sizes[2 * l + 1];
    for (int64_t r = 0; r < R; ++r) {
        const T scale = admitted(step, P, loss[r], gradient, alive[r]);
        for (int64_t l = 0; l < layers; ++l) {
            const int m = int(sizes[2 * l + 1]), k = int(sizes[2 * l]) + 1;
            if (alive[r]) soap_layer(step, turn, T(shift), m, k, scale, gradient, at);
            for (auto flat : {&at.theta, &at.mean, &at.square}) *flat += m * k;
            for (auto flat : {&at.left, &at.left_basis}) *flat += m * m;
            for (auto flat : {&at.right, &at.right_basis}) *flat += k * k;
            gradient += m * k;
        }
    }
}

}  // namespace study
