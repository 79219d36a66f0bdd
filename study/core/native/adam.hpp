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
    double squares = 0;
    for (int64_t i = 0; i < P; ++i) squares += double(gradient[i]) * double(gradient[i]);
    alive = alive && std::isfinite(loss) && std::isfinite(T(squares));
    const double shrink = step.clip / (std::sqrt(squares) + 1e-6);
    return shrink < 1 ? T(shrink) : T(1);
}

template <typename T>
void adam(const Step& step, int64_t P, T loss, const T* gradient, T* theta, T* mean, T* square,
          bool& alive) {
    const T scale = admitted(step, P, loss, gradient, alive);
    if (!alive) return;
    const T rate = T(step.rate), epsilon = T(step.epsilon);
    const T of_mean = T(1 - step.beta1), of_square = T(1 - step.beta2);
    const T correct_mean = T(1 / step.correction1), correct_square = T(1 / step.correction2);
    for (int64_t i = 0; i < P; ++i) {
        const T g = scale * gradient[i];
        mean[i] += of_mean * (g - mean[i]);
        square[i] += of_square * (g * g - square[i]);
        theta[i] -= rate * correct_mean * mean[i] / (std::sqrt(correct_square * square[i]) + epsilon);
    }
}

}  // namespace study
