// The plain Lagrangian network: `lnn.py` in one pass.
#pragma once

#include "network.hpp"

namespace study {

template <typename T>
class Lagrangian final : public Network<T> {
   public:
    Lagrangian(const Shape& shape, int64_t B) : Network<T>(shape, int(shape.n_dof), 1, B) {
        const int H = shape.width, in = layers[0].columns, most = std::max(2, D + 1);
        hidden.resize(K);
        for (Hidden& l : hidden) {
            for (auto plane : {&l.value, &l.first, &l.second, &l.third, &l.bent, &l.weighted, &l.p,
                               &l.r, &l.mixed, &l.below})
                *plane = this->take_planes(1, H);
            l.tangents = this->take_planes(D + 1, H);
        }
        pushed = this->take_planes(most, H);
        for (auto& plane : adjoint) plane = this->take_planes(1, H);
        for (auto& plane : back) plane = this->take_planes(1, H);
        for (auto& plane : input) plane = this->take_planes(1, in);
        for (auto& plane : pulled) plane = this->take_planes(1, in);
        spare = this->take(D * (D + 3) / 2), one = this->take_planes(1, 1);
        std::fill_n(this->lane(one, 0), S, T(1));
    }

   protected:
    int64_t forward(int some) override {
        this->encode(input[0]);
        std::memcpy(input[0] + I * vectors, qdot, D * vectors * BYTES);
        std::memset(input[2] + I * vectors, 0, D * vectors * BYTES);
        this->push(input[0], qdot, input[2]);
        for (int k = 0; k < K; ++k) {
            Hidden& l = hidden[k];
            this->up(k, k ? hidden[k - 1].value : input[0], l.value);
            if (k) {
                for (int i = 0; i <= D; ++i) this->up(k, pushed + i * n, l.tangents + i * n);
            } else {
                for (int i = 0; i < D; ++i)
                    this->fill(layers[0].padded_rows, &layers[0].weights[I + i],
                               layers[0].padded_columns, l.tangents + i * n);
                this->up(0, input[2], l.tangents + D * n);
            }
            this->add_bias(k, l.value);
            this->activate(l.value, l.first, l.second, l.third);
            if (k + 1 < K)
                for (int i = 0; i <= D; ++i)
                    for (int j = 0; j < n; ++j)
                        pushed[i * n + j] = l.first[j] * l.tangents[i * n + j];
        }
        std::memset(mass, 0, D * D * vectors * BYTES);
        std::memset(c, 0, D * vectors * BYTES);
        Vec<T>* y = adjoint[0];
        this->fill(layers[0].padded_rows, layers[K].weights.data(), 1, y);
        for (int k = K - 1; k >= 0; --k) {
            Hidden& l = hidden[k];
            if (D == 1) add_pairs<1>(l, y);
            if (D == 2) add_pairs<2>(l, y);
            if (D == 3) add_pairs<3>(l, y);
            if (D > 3) add_pairs<0>(l, y);
            this->down(k, l.weighted, k ? y : input[1]);
        }
        this->pull_input(input[0], input[1], g);
        return this->solve(some);
    }

    void backward() override {
        second_order();
        const Plane<T> ones{one}, top{hidden[K - 1].below};
        this->collect(K, 1, &ones, &top, nullptr);  // L's own bias changes no acceleration
        for (int k = K - 1; k >= 0; --k) {
            streams(k);
            const Plane<T> up[] = {{adjoint[0]}, {adjoint[1]}, {adjoint[2]}, {hidden[k].weighted}};
            if (!k) {
                const Plane<T> below[] = {{input[0]}, {input[1]}, {input[2]}, {input[3]}};
                this->collect(0, 4, up, below, adjoint[0]);
                continue;
            }
            const Hidden& l = hidden[k - 1];
            for (int j = 0; j < n; ++j) {
                pushed[j] = l.first[j] * l.p[j];
                pushed[n + j] = l.first[j] * l.r[j];
            }
            const Plane<T> below[] = {{l.value}, {pushed}, {pushed + n}, {l.below}};
            this->collect(k, 4, up, below, adjoint[0]);
            for (int s = 0; s < 3; ++s) this->down(k, adjoint[s], back[s]);
        }
    }

    void pull_states(Vec<T>* to_q, Vec<T>* to_qdot) override {
        this->down(0, adjoint[0], pulled[0]);
        this->down(0, adjoint[2], pulled[1]);
        this->down(0, hidden[0].weighted, pulled[2]);
        this->pull_input(input[0], pulled[0], to_q);
        this->bend_input(input[0], pulled[1], qdot, to_q);
        this->bend_input(input[0], pulled[2], z, to_q);
        this->pull_input(input[0], pulled[1], to_qdot);  // r is (qdot, qddot)
        for (int i = 0; i < D * vectors; ++i) to_qdot[i] += pulled[0][I * vectors + i];
    }

   private:
    using Base = Network<T>;
    using Base::D, Base::K, Base::I, Base::S, Base::n, Base::vectors, Base::layers;
    using Base::qdot, Base::qddot, Base::u, Base::z, Base::c, Base::g, Base::mass;

    struct Hidden {  // planes of one chunk; `tangents` along e_1 .. e_D and v
        Vec<T>*value, *first, *second, *third, *bent, *weighted, *p, *r, *mixed, *below, *tangents;
    };

    // a layer's part of M and c, from the adjoint y of its value; d is D, or 0 for any D
    template <int d>
    void add_pairs(const Hidden& l, const Vec<T>* y) {
        Vec<T> own[d * (d + 3) / 2 + 1], *sums = d ? own : spare;
        const int rows = d ? d : D;
        for (int v = 0; v < vectors; ++v) {
            for (int i = 0; i < rows * (rows + 3) / 2; ++i) sums[i] = Vec<T>{};
            for (int j = v; j < n; j += vectors) {
                const Vec<T> here = y[j], bent = l.second[j] * here;
                l.bent[j] = bent;
                l.third[j] *= here;  // times the adjoint from here on
                l.weighted[j] = l.first[j] * here;
                Vec<T>* sum = sums;
                for (int i = 0; i < rows; ++i) {
                    const Vec<T> s = bent * l.tangents[i * n + j];
                    for (int k = i; k <= rows; ++k) *sum++ += s * l.tangents[k * n + j];
                }
            }
            const Vec<T>* sum = sums;
            for (int i = 0; i < rows; ++i) {
                for (int k = i; k < rows; ++k) mass[(i * D + k) * vectors + v] += *sum++;
                c[i * vectors + v] += *sum++;
            }
        }
    }

    // the streams along p = (0, u), r = (qdot, qddot) and their second-order one, from the input up
    void second_order() {
        this->solve_transposed(u);
        for (int i = 0; i < D * vectors; ++i) z[i] = u[i], u[i] = -z[i];  // s is (z, 0)
        std::memset(input[1], 0, I * vectors * BYTES);
        std::memcpy(input[1] + I * vectors, u, D * vectors * BYTES);
        std::memcpy(input[2] + I * vectors, qddot, D * vectors * BYTES);
        this->push(input[0], z, input[3]);
        this->up(0, input[3], hidden[0].mixed);
        for (int k = 0; k < K; ++k) {
            Hidden& l = hidden[k];
            for (int j = 0; j < n; j += vectors)
                for (int v = 0; v < vectors; ++v) {
                    Vec<T> p{}, r = l.tangents[D * n + j + v];
                    for (int i = 0; i < D; ++i) {
                        const Vec<T> t = l.tangents[i * n + j + v];
                        p += t * u[i * vectors + v], r += t * qddot[i * vectors + v];
                    }
                    l.p[j + v] = p, l.r[j + v] = r;
                    l.below[j + v] = l.second[j + v] * (p * r) + l.first[j + v] * l.mixed[j + v];
                }
            if (k + 1 < K) this->up(k + 1, l.below, hidden[k + 1].mixed);
        }
    }

    // the adjoints of layer k's value, p and r, from those of the layer above in `back`
    void streams(int k) {
        const Hidden& l = hidden[k];
        for (int j = 0; j < n; ++j) {
            const Vec<T> p = l.p[j], r = l.r[j], bent = l.bent[j], first = l.first[j];
            Vec<T> to_value = bent * l.mixed[j] + l.third[j] * (p * r);
            Vec<T> to_p = bent * r, to_r = bent * p;
            if (k + 1 < K) {
                const Vec<T> of_p = back[1][j], of_r = back[2][j];
                to_value += first * back[0][j] + l.second[j] * (p * of_p + r * of_r);
                to_p += first * of_p, to_r += first * of_r;
            }
            adjoint[0][j] = to_value, adjoint[1][j] = to_p, adjoint[2][j] = to_r;
        }
    }

    std::vector<Hidden> hidden;
    Vec<T>*pushed, *adjoint[3], *back[3], *input[4], *pulled[3], *spare, *one;
};

}  // namespace study
