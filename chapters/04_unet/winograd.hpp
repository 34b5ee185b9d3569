#pragma once
// Winograd's convolution derived (4.17), on one tile: a kernel of 3 x 3 weights and 4 x 4 outputs
// in 36 multiplications. src/kernels/winograd.cpp does it for whole pictures.
#include <Eigen/Core>

namespace diffusion::plain {

/// The fixed matrices of F(4, 3), from the points 0, 1, -1, 2, -2 and infinity.
struct Winograd {
    Eigen::Matrix<double, 6, 4> A;  ///< 4 coefficients of a polynomial to its values
    Eigen::Matrix<double, 6, 3> G;  ///< 3 coefficients to values, over the denominators
    Eigen::Matrix<double, 6, 6> B;  ///< values of a product to its 6 coefficients

    Winograd();

    /// (4.17) y_i = sum over v of w_v d_(i+v)
    Eigen::Vector4d row(const Eigen::Matrix<double, 6, 1>& d, const Eigen::Vector3d& w) const;
    /// (4.18) The same in two dimensions: y_ij = sum over u, v of w_uv d_(i+u)(j+v)
    Eigen::Matrix4d tile(const Eigen::Matrix<double, 6, 6>& d, const Eigen::Matrix3d& w) const;
    /// (4.19) The gradient of w from that of y
    Eigen::Matrix3d weight_vjp(const Eigen::Matrix<double, 6, 6>& d,
                               const Eigen::Matrix4d& dy) const;
};

/// (4.20) A tile of a doubled picture's convolution in 25 multiplications, from the 4 x 4 pixels of
/// the small picture that it depends on: rows a, b, c and d, of which b and c are doubled in it.
struct DoubledWinograd {
    Eigen::Matrix<double, 4, 5> C;  ///< 5 products to 4 outputs
    Eigen::Matrix<double, 5, 3> F;  ///< 3 weights to the factors of 5 products
    Eigen::Matrix<double, 5, 4> S;  ///< 4 pixels to the sums that they multiply

    DoubledWinograd();
    Eigen::Vector4d row(const Eigen::Vector4d& d, const Eigen::Vector3d& w) const;
    Eigen::Matrix4d tile(const Eigen::Matrix4d& d, const Eigen::Matrix3d& w) const;
};

}  // namespace diffusion::plain
