//! One chart as SVG, drawn by `plotters`.
//!
//! Axes and each series are drawn as layers of their own, so that each series is an element with an id and a class. What
//! colour it has is up to the style sheet, which knows whether the page is dark.

use std::fmt::Write;
use std::io;
use std::ops::Range;

use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Polygon};
use plotters::prelude::Cartesian2d;
use plotters::style::{BLACK, Color, ShapeStyle};

use super::axis::Axis;
use super::escaped;

/// `plotters` draws at whole places: so many of them are a pixel.
const FINE: i32 = 4;

/// Letters, in pixels.
const LETTERS: i32 = 13;

/// What one letter takes, about.
const LETTER: f64 = 0.58 * LETTERS as f64;

/// What a chart shows, in places of its axes.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    pub(super) id: &'static str,
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
}

/// One line in a chart.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    /// The class that the style sheet has colours for.
    pub(super) class: String,
    /// The line, with gaps where nothing was measured.
    pub(super) pieces: Vec<Vec<(f64, f64)>>,
    /// What is below it is filled.
    pub(super) is_filled: bool,
}

/// How large a chart is drawn: the page shows one of these, by its own width.
#[derive(Clone, Copy, Debug)]
struct Format {
    name: &'static str,
    width: i32,
    height: i32,
}

const FORMATS: [Format; 2] =
    [Format { name: "wide", width: 760, height: 330 }, Format { name: "narrow", width: 368, height: 280 }];

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Plane<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Marked, Marked>>;

/// An axis with the marks that there is room for.
struct Marked {
    places: RangedCoordf64,
    marks: Vec<f64>,
}

impl Marked {
    fn of(axis: &Axis, marks: Vec<f64>) -> Self {
        Self { places: (axis.from..axis.to).into(), marks }
    }
}

impl Ranged for Marked {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.places.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.marks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.places.range()
    }
}

impl Chart {
    /// As an HTML figure: title, what its lines are, and the drawing in each format.
    pub(super) fn to_html(&self) -> io::Result<String> {
        let mut html = format!("<figure id=\"{}\">\n<figcaption>{}</figcaption>\n", self.id, escaped(&self.title));
        html.push_str(&self.key());
        for format in FORMATS {
            html.push_str(&self.drawing(format)?);
        }
        Ok(html + "</figure>\n")
    }

    /// Which line is which.
    fn key(&self) -> String {
        let mut key = "<ul class=\"key\">".to_owned();
        let mut known: Vec<(&str, &str)> = Vec::new();
        for series in &self.series {
            let entry = (series.class.as_str(), if series.class == MUTED { "each part" } else { series.name.as_str() });
            if known.contains(&entry) {
                continue;
            }
            known.push(entry);
            let (class, name) = (series.class.as_str(), escaped(entry.1));
            let _ = write!(
                key,
                "<li><svg class=\"{class}\" viewBox=\"0 0 28 10\" aria-hidden=\"true\"><polyline points=\"1,5 27,5\" \
                 stroke-width=\"2.5\"/></svg>{name}</li>"
            );
        }
        key + "</ul>\n"
    }

    fn drawing(&self, format: Format) -> io::Result<String> {
        let Format { name, width, height } = format;
        let mut html = format!(
            "<svg class=\"{name}\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n<g class=\"axes\">\n{}</g>\n",
            width * FINE,
            height * FINE,
            escaped(&self.title),
            self.layer(format, |plane| self.mesh(plane))?
        );
        for (number, series) in self.series.iter().enumerate() {
            let _ = writeln!(
                html,
                "<g id=\"{}-{number}-{name}\" class=\"series {}\"><title>{}</title>\n{}</g>",
                self.id,
                series.class,
                escaped(&series.name),
                self.layer(format, |plane| series.draw(plane))?
            );
        }
        Ok(html + "</svg>\n")
    }

    /// What `draw` draws, without the element around it.
    fn layer(&self, format: Format, draw: impl FnOnce(&mut Plane<'_, '_>) -> io::Result<()>) -> io::Result<String> {
        let mut svg = String::new();
        {
            let size = ((format.width * FINE) as u32, (format.height * FINE) as u32);
            let canvas = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            draw(&mut self.plane(&canvas, format)?)?;
            canvas.present().map_err(io::Error::other)?;
        }
        let (_, inside) = svg.split_once('>').unwrap_or_default();
        Ok(inside.trim_end().trim_end_matches("</svg>").trim_start().to_owned())
    }

    /// The plane between the axes.
    fn plane<'a, 'b>(&self, canvas: &'a Canvas<'b>, format: Format) -> io::Result<Plane<'a, 'b>> {
        let longest = self.y.marks.iter().map(|(_, text)| text.chars().count()).max().unwrap_or_default();
        let beside = (longest as f64 * LETTER) as i32 + LETTERS + 18;
        let below = 2 * LETTERS + 22;
        let (width, height) = (format.width - beside - 22, format.height - below - 12);
        let x_marks = self.x.roomy(width.into(), |text| (text.chars().count() as f64 + 1.5) * LETTER);
        let y_marks = self.y.roomy(height.into(), |_| f64::from(LETTERS) * 1.5);
        ChartBuilder::on(canvas)
            .margin_top(12 * FINE)
            .margin_right(22 * FINE)
            .x_label_area_size(below * FINE)
            .y_label_area_size(beside * FINE)
            .build_cartesian_2d(Marked::of(&self.x, x_marks), Marked::of(&self.y, y_marks))
            .map_err(io::Error::other)
    }

    fn mesh(&self, plane: &mut Plane<'_, '_>) -> io::Result<()> {
        let letters = ("sans-serif", f64::from(LETTERS * FINE) * 1.24);
        plane
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(BLACK.mix(0.0))
            .bold_line_style(BLACK.mix(0.15).stroke_width(FINE as u32))
            .axis_style(BLACK.mix(0.6).stroke_width(FINE as u32))
            .set_all_tick_mark_size(4 * FINE)
            .label_style(letters)
            .axis_desc_style(letters)
            .x_desc(&self.x.title)
            .y_desc(&self.y.title)
            .x_label_formatter(&|at| self.x.label(*at))
            .y_label_formatter(&|at| self.y.label(*at))
            .draw()
            .map_err(io::Error::other)
    }
}

/// The class of lines that are many and have no colour of their own.
pub(super) const MUTED: &str = "muted";

impl Series {
    fn draw(&self, plane: &mut Plane<'_, '_>) -> io::Result<()> {
        let line = BLACK.stroke_width(2 * FINE as u32);
        let floor = plane.y_range().start;
        for piece in &self.pieces {
            let (Some(first), Some(last)) = (piece.first(), piece.last()) else { continue };
            if self.is_filled {
                let area = [(first.0, floor)].into_iter().chain(piece.iter().copied()).chain([(last.0, floor)]);
                let area: Vec<(f64, f64)> = area.collect();
                plane.draw_series([Polygon::new(area, BLACK.mix(0.2))]).map_err(io::Error::other)?;
            }
            let drawn = match piece.len() {
                1 => plane.draw_series([Circle::new(*first, 3 * FINE, ShapeStyle::from(BLACK).filled())]).map(|_| ()),
                _ => plane.draw_series([PathElement::new(piece.clone(), line)]).map(|_| ()),
            };
            drawn.map_err(io::Error::other)?;
        }
        Ok(())
    }
}
