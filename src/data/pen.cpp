#include "data/pen.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <string>

namespace diffusion {
namespace {

ControlPoint mix(const ControlPoint& a, const ControlPoint& b, double ta, double tb, double t) {
    const double w = (t - ta) / (tb - ta);
    return {a.x + w * (b.x - a.x), a.y + w * (b.y - a.y), false};
}

/// Square root of the distance: the knot spacing that makes the curve centripetal.
double knot(const ControlPoint& a, const ControlPoint& b) {
    return std::sqrt(std::max(std::hypot(b.x - a.x, b.y - a.y), 1e-9));
}

/// The curve from p1 to p2 at u in [0,1], with neighbours p0 and p3 (Barry and Goldman 1988).
ControlPoint catmull_rom(const ControlPoint& p0, const ControlPoint& p1, const ControlPoint& p2,
                         const ControlPoint& p3, double u) {
    const double t1 = knot(p0, p1), t2 = t1 + knot(p1, p2), t3 = t2 + knot(p2, p3);
    const double t = t1 + u * (t2 - t1);
    const ControlPoint a = mix(p0, p1, 0.0, t1, t), b = mix(p1, p2, t1, t2, t),
                       c = mix(p2, p3, t2, t3, t);
    return mix(mix(a, b, 0.0, t2, t), mix(b, c, t1, t3, t), t1, t2, t);
}

ControlPoint reflect(const ControlPoint& centre, const ControlPoint& p) {
    return {2.0 * centre.x - p.x, 2.0 * centre.y - p.y, false};
}

}  // namespace

Figure parse_figure(std::string_view text) {
    Figure figure(1);
    std::istringstream in{std::string(text)};
    for (std::string token; in >> token;) {
        if (token == "/") {
            figure.emplace_back();
            continue;
        }
        std::istringstream point(token);
        ControlPoint p{};
        char comma = 0, mark = 0;
        point >> p.x >> comma >> p.y;
        require(!point.fail() && comma == ',', "figure: '", token, "' is not a point x,y");
        p.corner = static_cast<bool>(point >> mark);
        require(!p.corner || (mark == '!' && point.peek() == EOF), "figure: '", token,
                "' is not a point x,y or a corner x,y!");
        figure.back().push_back(p);
    }
    for (const auto& stroke : figure) {
        require(stroke.size() >= 2, "figure: a stroke of ", stroke.size(), " points, at least 2");
    }
    return figure;
}

std::vector<Stroke> smooth(const Figure& figure, int pieces) {
    std::vector<Stroke> strokes;
    for (const auto& points : figure) {
        Stroke& out = strokes.emplace_back();
        const std::size_t last = points.size() - 1;
        out.push_back({points[0].x, points[0].y, 0.0});
        for (std::size_t i = 0; i < last; ++i) {
            const ControlPoint &p1 = points[i], &p2 = points[i + 1];
            const bool begins = i == 0 || p1.corner, ends = i + 1 == last || p2.corner;
            const ControlPoint p0 = begins ? reflect(p1, p2) : points[i - 1];
            const ControlPoint p3 = ends ? reflect(p2, p1) : points[i + 2];
            for (int k = 1; k <= pieces; ++k) {
                const ControlPoint p = catmull_rom(p0, p1, p2, p3, static_cast<double>(k) / pieces);
                out.push_back({p.x, p.y, 0.0});
            }
        }
    }
    return strokes;
}

void draw(const Stroke& stroke, double edge, Tensor<float> canvas) {
    const int height = canvas.size(0), width = canvas.size(1);
    const auto clamp_to = [](double v, int size) {
        return static_cast<int>(std::clamp(v, 0.0, static_cast<double>(size)));
    };
    for (std::size_t i = 0; i + 1 < stroke.size(); ++i) {
        const PenPoint &a = stroke[i], &b = stroke[i + 1];
        const double reach = std::max(a.radius, b.radius) + 0.5 * edge + 0.5;
        const double dx = b.x - a.x, dy = b.y - a.y, length2 = dx * dx + dy * dy;
        const double per_length2 = length2 > 0.0 ? 1.0 / length2 : 0.0;
        const int x0 = clamp_to(std::floor(std::min(a.x, b.x) - reach), width);
        const int x1 = clamp_to(std::ceil(std::max(a.x, b.x) + reach), width);
        const int y0 = clamp_to(std::floor(std::min(a.y, b.y) - reach), height);
        const int y1 = clamp_to(std::ceil(std::max(a.y, b.y) + reach), height);
        for (int y = y0; y < y1; ++y) {
            for (int x = x0; x < x1; ++x) {
                const double px = x + 0.5 - a.x, py = y + 0.5 - a.y;
                const double t = std::clamp((px * dx + py * dy) * per_length2, 0.0, 1.0);
                const double ex = px - t * dx, ey = py - t * dy;
                const double radius = a.radius + t * (b.radius - a.radius);
                const double outside = radius + 0.5 * edge;  // beyond this distance there is no ink
                const double distance2 = ex * ex + ey * ey;
                if (distance2 >= outside * outside) continue;
                const double ink = std::min(1.0, (outside - std::sqrt(distance2)) / edge);
                canvas(y, x) = std::max(canvas(y, x), static_cast<float>(ink));
            }
        }
    }
}

}  // namespace diffusion
