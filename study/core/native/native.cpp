// The functions that Python calls: an ensemble of networks, each with its own states, in turn.
//
// Arrays are rows of contiguous memory. States are (R networks, D, B), networks `network` and
// coordinates `row` numbers apart; parameters are rows of theta, `theta_row` apart.

#include "adam.hpp"
#include "dense.hpp"
#include "lnn.hpp"
#include "rollout.hpp"
#include "segments.hpp"
#include "soap.hpp"

namespace study {

template <typename T>
struct States {
    int64_t R, B, network, row, theta_row;
    const T *theta, *q, *qdot, *target;
};

template <typename T>
std::unique_ptr<Network<T>> make(const Shape& shape, int64_t B) {
    if (shape.model == 1) return std::make_unique<Structured<T>>(shape, B);
    if (shape.model == 3) return std::make_unique<StructuredLagrangian<T>>(shape, B);
    if (shape.model == 2) return std::make_unique<AccelerationMLP<T>>(shape, B);
    return std::make_unique<Lagrangian<T>>(shape, B);
}

// the network of a shape; kept, because the next step needs the same one
template <typename T>
Network<T>& network_of(const Shape& shape, int64_t B) {
    static thread_local std::unique_ptr<Network<T>> kept;
    static thread_local Shape of;
    static thread_local int64_t with;
    if (!kept || with != B || std::memcmp(&of, &shape, sizeof(Shape))) {
        kept = make<T>(shape, B);
        of = shape, with = B;
    }
    return *kept;
}

template <typename T>
void accelerate(const Shape& shape, const States<T>& s, T* qddot) {
    Network<T>& network = network_of<T>(shape, s.B);
    for (int64_t r = 0; r < s.R; ++r, qddot += shape.n_dof * s.B) {
        network.load(s.theta + r * s.theta_row);
        network.sweep(s.q + r * s.network, s.qdot + r * s.network, s.row,
                       [&](int64_t at, int some) { network.accelerations(at, some, qddot); });
    }
}

template <typename T>
void differentiate(const Shape& shape, const States<T>& s, T* qddot, T* jacobian) {
    Network<T>& network = network_of<T>(shape, s.B);
    const int64_t row = shape.n_dof * s.B;  // the Jacobian is (R, P, D, B)
    for (int64_t r = 0; r < s.R; ++r, qddot += row, jacobian += network.n_params() * row) {
        network.load(s.theta + r * s.theta_row);
        network.sweep(s.q + r * s.network, s.qdot + r * s.network, s.row,
                       [&](int64_t at, int some) {
                           network.accelerations(at, some, qddot);
                           network.jacobian(some, jacobian + at, row);
                       });
    }
}

template <typename T>
void descend(const Shape& shape, const States<T>& s, bool absolute, T* loss, T* gradient,
             T* floored) {
    Network<T>& network = network_of<T>(shape, s.B);
    for (int64_t r = 0; r < s.R; ++r, gradient += network.n_params()) {
        const int64_t from = r * s.network;
        double error = 0;
        network.load(s.theta + r * s.theta_row);
        const int64_t count =
            network.sweep(s.q + from, s.qdot + from, s.row, [&](int64_t at, int some) {
                error += network.gradient(s.target + from + at, s.row, some, absolute);
            });
        network.unload(gradient);
        loss[r] = T(error), floored[r] = T(count) / T(s.B);
    }
}

// as `descend`, of segments of k samples (R, 2 D + k (1 + 2 D), B) that `q` points to
template <typename T>
void descend_segments(const Shape& shape, const States<T>& s, int64_t k, double limit,
                      int straightened, T* loss, T* gradient, T* floored) {
    Network<T>& network = network_of<T>(shape, s.B);
    Segments<T> segments(network, int(shape.n_dof), k, s.B, T(limit), straightened);
    for (int64_t r = 0; r < s.R; ++r, gradient += network.n_params()) {
        network.load(s.theta + r * s.theta_row);
        const auto [error, count] = segments.descend(s.q + r * s.network, s.row);
        network.unload(gradient);
        loss[r] = T(error), floored[r] = T(count) / T(4 * k * s.B);
    }
}

// theta (R, P), start (K, 2 D) -> states (R, K, T, 2 D), and for each trajectory how many are set
void roll_out(const Shape& shape, const Course& course, int64_t R, const double* theta,
              const double* start, const double* times, double* states, int64_t* reached,
              int64_t* steps) {
    Network<double>& network = network_of<double>(shape, course.K);
    Tsitouras solver(network, int(shape.n_dof), course);
    for (int64_t r = 0; r < R; ++r, theta += network.n_params()) {
        const int64_t k = r * course.K;
        network.load(theta);
        solver.run(start, times, states + k * course.T * 2 * shape.n_dof, reached + k, steps + k);
    }
}

}  // namespace study

#define FOR_TYPE(T)                                                                             \
    extern "C" void accelerate_##T(const study::Shape* shape, const study::States<T>* states,   \
                                   T* qddot) {                                                  \
        study::accelerate<T>(*shape, *states, qddot);                                           \
    }                                                                                           \
    extern "C" void differentiate_##T(const study::Shape* shape, const study::States<T>* states, \
                                      T* qddot, T* jacobian) {                                  \
        study::differentiate<T>(*shape, *states, qddot, jacobian);                              \
    }                                                                                           \
    extern "C" void descend_##T(const study::Shape* shape, const study::States<T>* states,      \
                                int absolute, T* loss, T* gradient, T* floored) {               \
        study::descend<T>(*shape, *states, absolute, loss, gradient, floored);                  \
    }                                                                                           \
    extern "C" void descend_segments_##T(const study::Shape* shape,                             \
                                         const study::States<T>* states, int64_t k,             \
                                         double limit, int straightened, T* loss, T* gradient,  \
                                         T* floored) {                                          \
        study::descend_segments<T>(*shape, *states, k, limit, straightened, loss, gradient,     \
                                   floored);                                                    \
    }                                                                                           \
    extern "C" void adam_##T(const study::Step* step, int64_t R, int64_t P, const T* loss,      \
                             const T* gradient, T* theta, T* mean, T* square, bool* alive) {    \
        for (int64_t r = 0; r < R; ++r, gradient += P, theta += P, mean += P, square += P)      \
            study::adam<T>(*step, P, loss[r], gradient, theta, mean, square, alive[r]);         \
    }                                                                                           \
    extern "C" void soap_##T(const study::Step* step, int turn, double shift, int64_t layers,   \
                             const int64_t* sizes, int64_t R, const T* loss, const T* gradient, \
                             study::Soap<T> at, bool* alive) {                                  \
        study::soap<T>(*step, turn, shift, layers, sizes, R, loss, gradient, at, alive);    \
    }

FOR_TYPE(float)
FOR_TYPE(double)

extern "C" void roll_out_double(const study::Shape* shape, const study::Course* course, int64_t R,
                                const double* theta, const double* start, const double* times,
                                double* states, int64_t* reached, int64_t* steps) {
    study::roll_out(*shape, *course, R, theta, start, times, states, reached, steps);
}
