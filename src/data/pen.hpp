#pragma once
// A pen: figures written as strokes through a few points, drawn as antialiased lines whose width
// may change along the way.
#include <string_view>
#include <vector>

#include "tensor/tensor.hpp"

namespace diffusion {

struct ControlPoint {
    double x, y;
    bool corner;  ///< the pen turns sharply here
};
/// A figure: strokes, each a list of points the pen passes through; the pen is lifted in between.
using Figure = std::vector<std::vector<ControlPoint>>;

/// Reads "0,62! 46,0! 44,100 / 0,62 66,60": points "x,y" in any unit, y downwards; '!' marks a
/// corner,
/// '/' lifts the pen. Fails on anything else.
Figure parse_figure(std::string_view text);

struct PenPoint {
    double x, y;
    double radius;  ///< half the line's width
};
using Stroke = std::vector<PenPoint>;

/// The figure as fine polylines of radius 0: centripetal Catmull-Rom curves (Catmull and Rom 1974;
/// the centripetal form makes no cusps or loops of its own), broken at corners. `pieces` line
/// segments between two control points.
std::vector<Stroke> smooth(const Figure& figure, int pieces = 8);

/// Draws on a canvas [H,W] of values 0..1; the pixel in row y and column x has its centre at
/// (x + 0.5, y + 0.5). The ink falls from 1 to 0 over `edge` pixels across the outline; where lines
/// overlap, the darker one counts.
void draw(const Stroke& stroke, double edge, Tensor<float> canvas);

}  // namespace diffusion
