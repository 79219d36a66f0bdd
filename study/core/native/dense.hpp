// Dense networks of several outputs with tangents, and the two models made of them.
//
// The names are those of `mlp.py`, `acceleration_mlp.py` and `structured_lnn.py`. Stream 0 is the
// value, the others are tangents.
#pragma once

#include "network.hpp"

namespace study {

template <typename T>
class Dense : public Network<T> {
   public:
    Dense(const Shape& shape, int rates, int n_outputs, int streams, int64_t B)
        : Network<T>(shape, rates, n_outputs, B), C(streams) {
        hidden.resize(K);
        for (Hidden& l : hidden) {
            for (int s = 0; s < C; ++s) l.below.push_back({this->take_planes(1, shape.width)});
            l.first = this->take_planes(1, shape.width);
            l.second = this->take_planes(1, shape.width);
            l.tangents = this->take_planes(C, shape.width);
        }
        unused = this->take_planes(1, shape.width);
        for (int s = 0; s < C; ++s) {
            input.push_back({this->take_planes(1, layers[0].columns)});
            out.push_back({this->take_planes(1, n_outputs)});
            adjoint.push_back({this->take_planes(1, shape.width)});
            back.push_back({this->take_planes(1, shape.width)});
            pulled.push_back({this->take_planes(1, layers[0].columns)});
        }
    }

   protected:
    // `out` from `input`
    void push_all() {
        for (int k = 0; k < K; ++k) {
            Hidden& l = hidden[k];
            for (int s = 0; s < C; ++s)
                this->up(k, k ? hidden[k - 1].below[s].at : input[s].at,
                         s ? l.tangents + s * n : l.below[0].at);
            this->add_bias(k, l.below[0].at);
            this->activate(l.below[0].at, l.first, l.second, unused);
            for (int s = 1; s < C; ++s)
                for (int j = 0; j < n; ++j) l.below[s].at[j] = l.first[j] * l.tangents[s * n + j];
        }
        for (int s = 0; s < C; ++s) this->up(K, hidden[K - 1].below[s].at, out[s].at);
        this->add_bias(K, out[0].at);
    }

    // the gradient from the adjoints of the outputs, which are in `out`
    void pull_all() {
        std::vector<Plane<T>> above(C), below(C);
        for (int k = K; k >= 0; --k) {
            for (int s = 0; s < C; ++s) {
                above[s] = (k == K ? out : adjoint)[s];
                below[s] = k ? hidden[k - 1].below[s] : input[s];
            }
            this->collect(k, C, above.data(), below.data(), above[0].at);
            if (!k) return;
            for (int s = 0; s < C; ++s) this->down(k, above[s].at, back[s].at);
            const Hidden& l = hidden[k - 1];
            for (int j = 0; j < n; ++j) {
                Vec<T> bent{};
                for (int s = 1; s < C; ++s) {
                    bent += l.tangents[s * n + j] * back[s].at[j];
                    adjoint[s].at[j] = l.first[j] * back[s].at[j];
                }
                adjoint[0].at[j] = l.first[j] * back[0].at[j] + l.second[j] * bent;
            }
        }
    }

    // the adjoints of `input`, into `pulled`
    void pull_inputs() const {
        for (int s = 0; s < C; ++s) this->down(0, adjoint[s].at, pulled[s].at);
    }

    using Base = Network<T>;
    using Base::D, Base::K, Base::I, Base::S, Base::n, Base::vectors, Base::layers, Base::shape;
    using Base::qdot, Base::qddot, Base::u, Base::z, Base::c, Base::g, Base::mass;
    int C;
    std::vector<Plane<T>> input, out, pulled;

   private:
    struct Hidden {  // planes of one chunk
        std::vector<Plane<T>> below;
        Vec<T>*first, *second, *tangents;
    };
    std::vector<Hidden> hidden;
    std::vector<Plane<T>> adjoint, back;
    Vec<T>* unused;
};

template <typename T>
class AccelerationMLP final : public Dense<T> {
   public:
    AccelerationMLP(const Shape& shape, int64_t B)
        : Dense<T>(shape, int(shape.n_dof + shape.n_inputs), shape.n_dof, 1, B) {}

   protected:
    int64_t forward(int) override {
        this->encode(this->input[0].at);
        const size_t row = this->vectors * BYTES;
        std::memcpy(this->input[0].at + this->I * this->vectors, this->qdot, (this->D + this->m) * row);
        this->push_all();
        std::memcpy(this->qddot, this->out[0].at, this->D * row);
        return 0;
    }

    void backward() override {
        std::memset(this->out[0].at, 0, this->layers[this->K].padded_rows * this->vectors * BYTES);
        std::memcpy(this->out[0].at, this->z, this->D * this->vectors * BYTES);
        this->pull_all();
    }

    void pull_states(Vec<T>* to_q, Vec<T>* to_qdot) override {
        this->pull_inputs();
        const Vec<T>* adjoint = this->pulled[0].at;
        this->pull_input(this->input[0].at, adjoint, to_q);
        std::memcpy(to_qdot, adjoint + this->I * this->vectors, this->D * this->vectors * BYTES);
    }
};

// M and V are the outputs themselves, as in `linear_lagrangian.py`; the gradient is not needed
template <typename T>
class StructuredLagrangian final : public Dense<T> {
   public:
    StructuredLagrangian(const Shape& shape, int64_t B)
        : Dense<T>(shape, 0, shape.n_dof * (shape.n_dof + 1) / 2 + 1, shape.n_dof + 1, B) {}

   protected:
    int64_t forward(int some) override {
        this->encode(input[0].at);
        for (int k = 0; k < D; ++k) {
            std::memset(u, 0, D * vectors * BYTES);
            std::fill_n(this->lane(u, k), this->S, T(1));
            this->push(input[0].at, u, input[k + 1].at);
        }
        this->push_all();
        const int potential = D * (D + 1) / 2;
        for (int v = 0; v < vectors; ++v) {
            for (int i = 0; i < D; ++i) {
                Vec<T> of_c{}, twice_g{};
                for (int k = 0; k < D; ++k) {
                    mass[(std::min(i, k) * D + std::max(i, k)) * vectors + v] = entry(0, i, k, v);
                    for (int j = 0; j < D; ++j) {
                        const Vec<T> both = qdot[j * vectors + v] * qdot[k * vectors + v];
                        of_c += entry(k + 1, i, j, v) * both;
                        twice_g += entry(i + 1, j, k, v) * both;
                    }
                }
                c[i * vectors + v] = of_c;
                g[i * vectors + v] = twice_g * T(0.5) - out[i + 1].at[potential * vectors + v];
            }
        }
        return this->solve(some);
    }

    void backward() override {}
    void pull_states(Vec<T>*, Vec<T>*) override {}

   private:
    using Base = Dense<T>;
    using Base::D, Base::vectors, Base::input, Base::out, Base::qdot, Base::u, Base::c, Base::g;
    using Base::mass;

    Vec<T> entry(int stream, int i, int j, int v) const {
        const int row = std::max(i, j), column = std::min(i, j);
        return out[stream].at[(row * (row + 1) / 2 + column) * vectors + v];
    }
};

template <typename T>
class Structured final : public Dense<T> {
   public:
    Structured(const Shape& shape, int64_t B)
        : Dense<T>(shape, 0, shape.n_dof * (shape.n_dof + 1) / 2 + 1, shape.n_dof + 1, B) {
        factor = this->take(D * D * vectors), slopes = this->take(D * D * D * vectors);
        for (auto rows : {&first, &second, &reduced}) *rows = this->take(D * vectors);
        raw = this->take(D * D * vectors);
        for (auto matrix : {&along, &along_u}) *matrix = this->take(D * D);
        for (auto row : {&w, &a, &b}) *row = this->take(D);
    }

   protected:
    int64_t forward(int some) override {
        this->encode(input[0].at);
        for (int k = 0; k < D; ++k) {
            std::memset(u, 0, D * vectors * BYTES);
            std::fill_n(this->lane(u, k), S, T(1));
            this->push(input[0].at, u, input[k + 1].at);
        }
        this->push_all();
        for (int v = 0; v < vectors; ++v) {
            int entry = 0;
            for (int i = 0; i < D; ++i)
                for (int j = 0; j <= i; ++j, ++entry) {
                    const Vec<T> o = out[0].at[entry * vectors + v];
                    Bend<T> bend = {o, Vec<T>{} + T(1), Vec<T>{}, Vec<T>{}};
                    if (i == j) {
                        bend = softplus<T>(o + T(0.541324854612918108));  // 1 where o = 0
                        first[i * vectors + v] = bend.first;
                        second[i * vectors + v] = bend.second;
                    }
                    A(i, j, v) = bend.value;
                    for (int k = 0; k < D; ++k) {
                        const Vec<T> t = out[k + 1].at[entry * vectors + v];
                        if (i == j) raw[(i * D + k) * vectors + v] = t;
                        A_k(i, j, k, v) = bend.first * t;
                    }
                }
            for (int i = 0; i < D; ++i) {
                Vec<T> p{};
                for (int j = 0; j < D; ++j) {
                    p += A(j, i, v) * velocity(j, v);
                    along[i * D + j] = Vec<T>{};
                    for (int k = 0; k < D; ++k)
                        along[i * D + j] += A_k(i, j, k, v) * velocity(k, v);
                }
                reduced[i * vectors + v] = p;
            }
            for (int j = 0; j < D; ++j) {
                a[j] = Vec<T>{};
                for (int i = 0; i < D; ++i) a[j] += along[i * D + j] * velocity(i, v);
            }
            for (int i = 0; i < D; ++i) {
                Vec<T> of_c{}, of_g = -out[i + 1].at[entry * vectors + v];
                for (int j = 0; j < D; ++j) {
                    of_c += along[i * D + j] * reduced[j * vectors + v] + A(i, j, v) * a[j];
                    for (int k = 0; k < D; ++k)
                        of_g += reduced[j * vectors + v] * A_k(k, j, i, v) * velocity(k, v);
                }
                c[i * vectors + v] = of_c, g[i * vectors + v] = of_g;
                for (int j = i; j < D; ++j) {
                    Vec<T> sum{};
                    for (int k = 0; k < D; ++k) sum += A(i, k, v) * A(j, k, v);
                    mass[(i * D + j) * vectors + v] = sum;
                }
            }
        }
        return this->solve(some);
    }

    void backward() override {
        this->solve_transposed(u);
        for (int s = 0; s <= D; ++s)
            std::memset(out[s].at, 0, layers[K].padded_rows * vectors * BYTES);
        for (int v = 0; v < vectors; ++v) {
            for (int i = 0; i < D * D; ++i) along[i] = along_u[i] = Vec<T>{};
            for (int i = 0; i < D; ++i) {
                w[i] = Vec<T>{};
                for (int j = 0; j < D; ++j) {
                    w[i] += A(j, i, v) * u[j * vectors + v];
                    for (int k = 0; k < D; ++k) {
                        along[i * D + j] += A_k(i, j, k, v) * velocity(k, v);
                        along_u[i * D + j] += A_k(i, j, k, v) * u[k * vectors + v];
                    }
                }
            }
            for (int j = 0; j < D; ++j) {
                a[j] = b[j] = Vec<T>{};
                for (int i = 0; i < D; ++i) {
                    a[j] += along_u[i * D + j] * velocity(i, v) - along[i * D + j] * u[i * vectors + v];
                    b[j] += along[i * D + j] * velocity(i, v) + A(i, j, v) * qddot[i * vectors + v];
                }
            }
            int entry = 0;
            for (int i = 0; i < D; ++i)
                for (int j = 0; j <= i; ++j, ++entry) {
                    const Vec<T> ui = u[i * vectors + v], di = velocity(i, v);
                    const Vec<T> forth = di * reduced[j * vectors + v];
                    const Vec<T> again = ui * reduced[j * vectors + v] + di * w[j];
                    Vec<T> to_A = di * a[j] - ui * b[j] - qddot[i * vectors + v] * w[j];
                    Vec<T> slope = Vec<T>{} + T(1), bent{};
                    if (i == j) slope = first[i * vectors + v];
                    for (int k = 0; k < D; ++k) {
                        const Vec<T> to_A_k = forth * u[k * vectors + v] - again * velocity(k, v);
                        if (i == j) bent += raw[(i * D + k) * vectors + v] * to_A_k;
                        out[k + 1].at[entry * vectors + v] = slope * to_A_k;
                    }
                    out[0].at[entry * vectors + v] = slope * to_A;
                    if (i == j) out[0].at[entry * vectors + v] += second[i * vectors + v] * bent;
                }
            for (int k = 0; k < D; ++k) out[k + 1].at[entry * vectors + v] = -u[k * vectors + v];
        }
        this->pull_all();
    }

    void pull_states(Vec<T>* to_q, Vec<T>* to_qdot) override {
        this->pull_inputs();
        const Vec<T>* x = input[0].at;
        this->pull_input(x, this->pulled[0].at, to_q);
        for (int k = 0; k < D; ++k) {
            std::memset(z, 0, D * vectors * BYTES);
            std::fill_n(this->lane(z, k), S, T(1));
            this->bend_input(x, this->pulled[k + 1].at, z, to_q);
        }
        for (int v = 0; v < vectors; ++v) {
            for (int i = 0; i < D; ++i) {
                w[i] = a[i] = Vec<T>{};
                for (int j = 0; j < D; ++j) {
                    w[i] += A(j, i, v) * u[j * vectors + v];
                    along[i * D + j] = along_u[i * D + j] = Vec<T>{};
                    for (int k = 0; k < D; ++k) {
                        along[i * D + j] += A_k(i, j, k, v) * velocity(k, v);
                        along_u[i * D + j] += A_k(i, j, k, v) * u[k * vectors + v];
                    }
                }
            }
            for (int j = 0; j < D; ++j)
                for (int i = 0; i < D; ++i)
                    a[j] += along_u[i * D + j] * velocity(i, v) - along[i * D + j] * u[i * vectors + v];
            for (int i = 0; i < D; ++i) {
                Vec<T> sum{};
                for (int j = 0; j < D; ++j) {
                    const Vec<T> p = reduced[j * vectors + v];
                    sum += A(i, j, v) * a[j] + along_u[i * D + j] * p - along[i * D + j] * w[j];
                    for (int k = 0; k < D; ++k)
                        sum -= A_k(k, j, i, v) * (u[k * vectors + v] * p + velocity(k, v) * w[j]);
                }
                to_qdot[i * vectors + v] = sum;
            }
        }
    }

   private:
    using Base = Dense<T>;
    using Base::D, Base::K, Base::S, Base::n, Base::vectors, Base::layers, Base::input, Base::out;
    using Base::qdot, Base::qddot, Base::u, Base::z, Base::c, Base::g, Base::mass;

    Vec<T>& A(int i, int j, int v) const { return factor[(i * D + j) * vectors + v]; }
    Vec<T>& A_k(int i, int j, int k, int v) const {
        return slopes[((i * D + j) * D + k) * vectors + v];
    }
    Vec<T> velocity(int i, int v) const { return qdot[i * vectors + v]; }

    Vec<T>*factor, *slopes, *first, *second, *reduced, *raw;
    Vec<T>*along, *along_u, *w, *a, *b;  // of one vector of states
};

}  // namespace study
