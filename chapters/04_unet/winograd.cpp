#include "04_unet/winograd.hpp"

#include <array>
#include <cmath>

namespace diffusion::plain {
namespace {

constexpr std::array<double, 5> kPoints{0, 1, -1, 2, -2};  // and infinity

/// (1, x, x^2, ..): what coefficients are multiplied by to give the value at x.
template <int count>
Eigen::Matrix<double, 1, count> powers(double x) {
    Eigen::Matrix<double, 1, count> p;
    for (int i = 0; i < count; ++i) p(i) = std::pow(x, i);
    return p;
}

/// The coefficients of the product of (x - point) over all points but one.
Eigen::Matrix<double, 6, 1> product_without(int left_out) {
    Eigen::Matrix<double, 6, 1> p = Eigen::Matrix<double, 6, 1>::Unit(0);
    for (int k = 0; k < 5; ++k) {
        if (k == left_out) continue;
        const Eigen::Matrix<double, 6, 1> before = p;
        for (int i = 0; i < 6; ++i)
            p(i) =
                (i > 0 ? before(i - 1) : 0) - kPoints.at(static_cast<std::size_t>(k)) * before(i);
    }
    return p;
}

}  // namespace

Winograd::Winograd() {
    for (int k = 0; k < 5; ++k) {
        const double x = kPoints.at(static_cast<std::size_t>(k));
        // Lagrange: this polynomial is 0 at all other points, and `denominator` at x.
        const Eigen::Matrix<double, 6, 1> lagrange = product_without(k);
        const double denominator = powers<6>(x) * lagrange;
        A.row(k) = powers<4>(x);
        G.row(k) = powers<3>(x) / denominator;
        B.col(k) = lagrange;
    }
    // At infinity a polynomial's value is its leading coefficient.
    A.row(5) = Eigen::RowVector4d(0, 0, 0, 1);
    G.row(5) = Eigen::RowVector3d(0, 0, 1);
    B.col(5) = product_without(-1);
}

Eigen::Vector4d Winograd::row(const Eigen::Matrix<double, 6, 1>& d,
                              const Eigen::Vector3d& w) const {
    return A.transpose() * (G * w).cwiseProduct(B.transpose() * d);  // (4.17)
}

Eigen::Matrix4d Winograd::tile(const Eigen::Matrix<double, 6, 6>& d,
                               const Eigen::Matrix3d& w) const {
    const Eigen::Matrix<double, 6, 6> U = G * w * G.transpose(), V = B.transpose() * d * B;
    return A.transpose() * U.cwiseProduct(V) * A;  // (4.18)
}

Eigen::Matrix3d Winograd::weight_vjp(const Eigen::Matrix<double, 6, 6>& d,
                                     const Eigen::Matrix4d& dy) const {
    const Eigen::Matrix<double, 6, 6> V = B.transpose() * d * B, dM = A * dy * A.transpose();
    return G.transpose() * V.cwiseProduct(dM) * G;  // (4.19)
}

DoubledWinograd::DoubledWinograd() {
    S << 1, 0, -1, 0,     // a - c
        0, 1, 1, 0,       // b + c
        0, -1, 1, 0,      // c - b
        0, -1, 1, 0,      // the same
        0, -1, 0, 1;      // d - b
    F << 1, 0, 0,         // g0
        0.5, 0.5, 0.5,    // (g0 + g1 + g2) / 2
        -0.5, -0.5, 0.5,  // (g2 - g0 - g1) / 2
        -0.5, 0.5, 0.5,   // (g1 + g2 - g0) / 2
        0, 0, 1;          // g2
    C << 1, 1, 0, -1, 0,  // y0 = m0 + m1 - m3
        0, 1, 1, 0, 0,    // y1 = m1 + m2
        0, 1, 0, 1, 0,    // y2 = m1 + m3
        0, 1, -1, 0, 1;   // y3 = m1 - m2 + m4
}

Eigen::Vector4d DoubledWinograd::row(const Eigen::Vector4d& d, const Eigen::Vector3d& w) const {
    return C * (F * w).cwiseProduct(S * d);  // (4.20)
}

Eigen::Matrix4d DoubledWinograd::tile(const Eigen::Matrix4d& d, const Eigen::Matrix3d& w) const {
    return C * (F * w * F.transpose()).cwiseProduct(S * d * S.transpose()) * C.transpose();
}

}  // namespace diffusion::plain
