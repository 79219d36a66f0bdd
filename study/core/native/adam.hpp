// One step of Adam (Kingma and Ba 2015) for each network: `adam` of `adam.py` in one pass.
#pragma once

#include <cmath>
#include <cstdint>

namespace study {

struct Step {
    double rate, beta1, beta2, correction1, correction2, epsilon, clip;
};

// What a gradient is multiplied by to be clipped. A network is no longer alive, and stays as it is,
// once its loss, its gradient or the gradient's square is not finite.
template <typename T>
T admitted(const Step& step, int64_t P, T loss, const T* gradient, bool& alive) {
    double lanes[8] = {}, squares = 0;  // eight sums, which do not wait for each other
    const int64_t whole = P / 8 * 8;
    for (int64_t i = 0; i < whole; i += 8)
        for (int l = 0; l < 8; ++l) lanes[l] += double(gradient[i + l]) * double(gradient[i + l]);
    for (int64_t i = whole; i < P; ++i) squares += double(gradient[i]) * double(gradient[i]);
    for (double lane : lanes) squares += lane;
    alive = alive && std::isfinite(loss) && std::isfinite(T(squares));
    const double shrink = step.clip / (std::sqrt(squares) + 1e-6);
    return shrink < 1 ? T(shrink) : T(1);
}

// The rule of the two moments: they follow a gradient; returns what is to be subtracted.
template <typename T>
struct Rule {
    T rate, epsilon, of_mean, of_square, correct_mean, correct_square;

    explicit Rule(const Step& step)
        : rate(T(step.rate)), epsilon(T(step.epsilon)), of_mean(T(1 - step.beta1)),
          of_square(T(1 - step.beta2)), correct_mean(T(1 / step.correction1)),
          correct_square(T(1 / step.correction2)) {}

    T operator()(T g, T& mean, T& square) const {
        mean += of_mean * (g - mean);
        square += of_square * (g * g - square);
        return rate * correct_mean * mean / (std::sqrt(correct_square * square) + epsilon);
    }
};

template <typename T>
void adam(const Step& step, int64_t P, T loss, const T* gradient, T* theta, T* mean, T* square,
          bool& alive) {
    const T scale = admitted(step, P, loss, gradient, alive);
    if (!alive) return;
    const Rule<T> rule(step);
    for (int64_t i = 0; i < P; ++i) theta[i] -= rule(scale * gradient[i], mean[i], square[i]);
}

}  // namespace study
