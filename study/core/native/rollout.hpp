// Trajectories of one network by Tsitouras 5(4), a step size each: the method of
// `measures/tsitouras.py`, without a pass through tensors for each operation of each stage.
//
// Coefficients and interpolant: Tsitouras, Comput. Math. Appl. 62 (2011) 770, with the sign of the
// last weight of the error corrected, as other solvers do. First step and step control: Hairer,
// Norsett, Wanner, Solving Ordinary Differential Equations I (2nd ed.), II.4.
//
// Arrays of states are (2 D, K), coordinates first; the result is (K, T, 2 D).
#pragma once

#include "network.hpp"

namespace study {

struct Course {  // `_Course` of `__init__.py`
    int64_t K, T, max_steps;
    int64_t bounded;  // a bit for each of (q, qdot) that must stay within `limit`
    double tolerance, limit, steepest;
};

constexpr int STAGES = 7;
constexpr double STAGE[STAGES][STAGES - 1] = {
    {},
    {0.161},
    {-0.008480655492356989, 0.335480655492357},
    {2.8971530571054935, -6.359448489975075, 4.3622954328695815},
    {5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525},
    {5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401,
     -0.02826905039406838},
    {0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081,
     2.324710524099774},
};
constexpr double ERROR[STAGES] = {
    0.00178001105222577714, 0.0008164344596567469, -0.007880878010261995, 0.1447110071732629,
    -0.5823571654525552,    0.45808210592918697,   -1.0 / 66,
};
constexpr double SAFETY = 0.9, SHRINK = 0.2, GROW = 10;  // factors from one step to the next

// weights of the stages at the part x of a step
inline void interpolant(double x, double* b) {
    const double xx = x * x;
    b[0] = -1.0530884977290216 * x * (x - 1.3299890189751412) *
           (xx - 1.4364028541716351 * x + 0.7139816917074209);
    b[1] = 0.1017 * xx * (xx - 2.1966568338249754 * x + 1.2949852507374631);
    b[2] = 2.490627285651252793 * xx * (xx - 2.38535645472061657 * x + 1.57803468208092486);
    b[3] = -16.54810288924490272 * (x - 1.21712927295533244) * (x - 0.61620406037800089) * xx;
    b[4] = 47.37952196281928122 * (x - 1.203071208372362603) * (x - 0.658047292653547382) * xx;
    b[5] = -34.87065786149660974 * (x - 1.2) * (x - 0.666666666666666667) * xx;
    b[6] = 2.5 * (x - 1) * (x - 0.6) * xx;
}

class Tsitouras {
   public:
    Tsitouras(Network<double>& network, int n_dof, const Course& course)
        : network(network), course(course), D(n_dof), W(2 * D), K(course.K) {
        for (auto rows : {&y, &trial}) rows->resize(W * K);
        for (auto& stage : stages) stage.resize(W * K);
        step.resize(K), time.resize(K);
    }

    // motion from `start` (K, 2 D) over `times`: the number of times reached, and of steps
    void run(const double* start, const double* times, double* states, int64_t* reached,
             int64_t* steps) {
        const double end = times[course.T - 1];
        for (int64_t k = 0; k < K; ++k) {
            for (int c = 0; c < W; ++c) y[c * K + k] = start[k * W + c];
            std::memcpy(states + k * course.T * W, start + k * W, W * sizeof(double));
            time[k] = times[0], reached[k] = 1, steps[k] = 0;
        }
        field(y, stages[0]);
        begin(end - times[0]);
        while (std::any_of(step.begin(), step.end(), [](double dt) { return dt > 0; })) {
            for (int i = 1; i < STAGES; ++i) {
                for (int c = 0; c < W; ++c)
                    for (int64_t k = 0, at = c * K; k < K; ++k, ++at) {
                        double sum = 0;
                        for (int j = 0; j < i; ++j) sum += STAGE[i][j] * stages[j][at];
                        trial[at] = y[at] + step[k] * sum;
                    }
                field(trial, stages[i]);
            }
            for (int64_t k = 0; k < K; ++k) {
                if (!(step[k] > 0)) continue;  // it has arrived, or passed the limit
                ++steps[k];
                const double error = error_of(k), dt = step[k];
                if (error < 1) {
                    for (; reached[k] < course.T && times[reached[k]] <= time[k] + dt; ++reached[k])
                        at_time(k, (times[reached[k]] - time[k]) / dt,
                                states + (k * course.T + reached[k]) * W);
                    time[k] += dt;
                    for (int64_t at = k; at < W * K; at += K)
                        y[at] = trial[at], stages[0][at] = stages[STAGES - 1][at];
                }
                const double factor = SAFETY * std::pow(std::max(error, 1e-38), -0.2);
                // NaN counts as too large
                step[k] = dt * (error == error ? std::clamp(factor, SHRINK, GROW) : SHRINK);
                step[k] = steps[k] < course.max_steps ? std::min(step[k], end - time[k]) : 0;
            }
        }
    }

   private:
    using Rows = std::vector<double>;

    // (qdot, qddot); zero once a state has passed the limit, so that it stays where it is
    void field(const Rows& of, Rows& out) {
        double* qddot = out.data() + D * K;
        network.sweep(of.data(), of.data() + D * K, K,
                      [&](int64_t at, int some) { network.accelerations(at, some, qddot); });
        const double steepest = course.steepest;
        for (int64_t i = 0; i < D * K; ++i) {
            out[i] = of[D * K + i];
            qddot[i] = qddot[i] == qddot[i] ? std::clamp(qddot[i], -steepest, steepest) : steepest;
        }
        for (int64_t k = 0; k < K; ++k) {
            bool inside = true;
            for (int c = 0; c < W; ++c) {
                const double limit = course.bounded >> c & 1 ? course.limit : INFINITY;
                inside &= std::abs(of[c * K + k]) < limit;
            }
            for (int64_t at = k; !inside && at < W * K; at += K) out[at] = 0;
        }
    }

    double bound(double value) const { return course.tolerance * (1 + std::abs(value)); }

    // first steps, from two values of the field
    void begin(double span) {
        Rows &f = stages[0], &g = stages[1];
        Rows speed(K);
        for (int64_t k = 0; k < K; ++k) {
            double d0 = 0, d1 = 0;
            for (int64_t at = k; at < W * K; at += K)
                d0 += square(y[at] / bound(y[at])), d1 += square(f[at] / bound(y[at]));
            d0 = std::sqrt(d0 / W), d1 = speed[k] = std::sqrt(d1 / W);
            step[k] = std::min(d0 < 1e-5 || d1 < 1e-5 ? 1e-6 : 0.01 * d0 / d1, span);
            for (int64_t at = k; at < W * K; at += K) trial[at] = y[at] + step[k] * f[at];
        }
        field(trial, g);
        for (int64_t k = 0; k < K; ++k) {
            double d2 = 0;
            for (int64_t at = k; at < W * K; at += K) d2 += square((g[at] - f[at]) / bound(y[at]));
            const double most = std::max(speed[k], std::sqrt(d2 / W) / step[k]);
            const double next = most <= 1e-15 ? std::max(1e-6, step[k] * 1e-3)
                                              : std::pow(0.01 / most, 0.2);
            step[k] = std::min({100 * step[k], next, span});
        }
    }

    // the error of the trial step, in units of the tolerance
    double error_of(int64_t k) const {
        double sum = 0;
        for (int64_t at = k; at < W * K; at += K) {
            double error = 0;
            for (int i = 0; i < STAGES; ++i) error += ERROR[i] * stages[i][at];
            sum += square(step[k] * error / bound(std::max(std::abs(y[at]), std::abs(trial[at]))));
        }
        return std::sqrt(sum / W);
    }

    // the state at the part x of the trial step
    void at_time(int64_t k, double x, double* state) const {
        double b[STAGES];
        interpolant(x, b);
        for (int c = 0; c < W; ++c) {
            double sum = 0;
            for (int i = 0; i < STAGES; ++i) sum += b[i] * stages[i][c * K + k];
            state[c] = y[c * K + k] + step[k] * sum;
        }
    }

    static double square(double x) { return x * x; }

    Network<double>& network;
    const Course course;
    const int D, W;  // W = 2 D components
    const int64_t K;
    Rows y, trial, stages[STAGES], step, time;
};

}  // namespace study
