"use strict";
/* The true and the learned system as they move. The script element `motions` holds a list of
   { name, label, times, axes, coordinates: [true, learned][time][coordinate],
     bodies: [true, learned][time][body] as [x, y], or null }; null is a number that is not finite. */

if (document.getElementById("motions")) {
  const motions = JSON.parse(document.getElementById("motions").textContent);
  const home = document.querySelector(".motion");
  const [choice, button, slider] = ["select", "button", "input"].map(what => home.querySelector(what));
  const [plane, curves] = home.querySelectorAll("canvas");
  const TRAIL = 1.5; // seconds of the last body's way
  let motion = motions[0], time = 0, before = null;

  const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name);
  const looks = () => [[colour("--ink"), []], [colour("--learned"), [6, 4]]];
  const at = () => motion.times.reduce((a, t, k) =>
    Math.abs(t - time) < Math.abs(motion.times[a] - time) ? k : a, 0);

  /* A canvas in CSS pixels, cleared: [context, width, height]. */
  function cleared(canvas, height) {
    const width = canvas.clientWidth, scale = devicePixelRatio || 1;
    canvas.style.height = `${height}px`;
    [canvas.width, canvas.height] = [width * scale, height * scale];
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    return [context, width, height];
  }

  /* A line through points; a point that is null, or holds a null, breaks it. */
  function line(context, points) {
    let down = false;
    context.beginPath();
    for (const point of points) {
      const there = point && point.every(x => x !== null);
      if (there) context[down ? "lineTo" : "moveTo"](...point);
      down = there;
    }
    context.stroke();
  }

  function drawPlane(now) {
    const [context, width, height] = cleared(plane, Math.min(plane.clientWidth, 340));
    const ends = [0, 1].map(i => {
      const own = motion.bodies[0].flat().map(body => body[i]).filter(x => x !== null);
      return [Math.min(0, ...own), Math.max(0, ...own)];
    });
    const [[left, right], [low, high]] = ends;
    const scale = 0.84 * Math.min(width / (right - left || 1), height / (high - low || 1));
    const place = ([x, y]) => x === null || y === null ? null :
      [width / 2 + scale * (x - (left + right) / 2), height / 2 - scale * (y - (low + high) / 2)];
    if (motion.bodies[0][0].length === 1) { // nothing holds it: mark the origin
      const [x, y] = place([0, 0]);
      context.strokeStyle = colour("--quiet");
      line(context, [[x - 5, y], [x + 5, y]]);
      line(context, [[x, y - 5], [x, y + 5]]);
    }
    looks().forEach(([ink, dashes], which) => {
      const frames = motion.bodies[which], points = frames[now].map(place);
      Object.assign(context, { strokeStyle: ink, fillStyle: ink, lineWidth: 1, globalAlpha: 0.4 });
      const past = frames.filter((_, k) => k <= now && motion.times[k] > motion.times[now] - TRAIL);
      line(context, past.map(frame => place(frame.at(-1))));
      Object.assign(context, { lineWidth: 2, globalAlpha: 1 });
      context.setLineDash(dashes);
      line(context, points);
      context.setLineDash([]);
      points.forEach((point, k) => {
        if (!point) return;
        context.beginPath();
        if (k === 0 && points.length > 1) context.rect(point[0] - 4, point[1] - 4, 8, 8);
        else context.arc(...point, 6, 0, 2 * Math.PI);
        which ? context.stroke() : context.fill();
      });
    });
  }

  function drawCurves(now) {
    const D = motion.axes.length, each = Math.max(90, 340 / Math.max(D, 2)), end = motion.times.at(-1);
    const [context, width] = cleared(curves, each * D);
    const across = t => 8 + (width - 16) * t / end;
    motion.axes.forEach((name, i) => {
      const own = motion.coordinates[0].map(q => q[i]).filter(x => x !== null);
      const [low, high] = [Math.min(...own), Math.max(...own)], top = each * i + 20;
      const up = x => top + (each - 28) * (high + 0.2 * (high - low) - x) / (1.4 * (high - low) || 1);
      context.save();
      context.beginPath();
      context.rect(8, top, width - 16, each - 26);
      context.clip();
      looks().forEach(([ink, dashes], which) => {
        context.strokeStyle = ink;
        context.lineWidth = 1.5;
        context.setLineDash(dashes);
        line(context, motion.times.map((t, k) => {
          const x = motion.coordinates[which][k][i];
          return x === null ? null : [across(t), up(x)];
        }));
      });
      context.restore();
      context.fillStyle = context.strokeStyle = colour("--quiet");
      context.font = "13px sans-serif";
      context.fillText(name, 8, top - 5);
      context.strokeRect(8, top, width - 16, each - 26);
      line(context, [[across(motion.times[now]), top], [across(motion.times[now]), top + each - 26]]);
    });
  }

  function draw() {
    const now = at();
    plane.hidden = !motion.bodies;
    if (motion.bodies) drawPlane(now);
    drawCurves(now);
    slider.value = time;
    slider.ariaValueText = home.querySelector("output").textContent = `${time.toFixed(2)} s`;
  }

  function stop() {
    before = null;
    button.textContent = "Play";
  }

  function step(now) {
    if (before === null) return;
    time = Math.min(time + (now - before) / 1000, motion.times.at(-1));
    before = now;
    if (time >= motion.times.at(-1)) stop();
    else requestAnimationFrame(step);
    draw();
  }

  button.addEventListener("click", () => {
    if (before !== null) return stop();
    if (time >= motion.times.at(-1)) time = 0;
    button.textContent = "Pause";
    requestAnimationFrame(now => { before = now; step(now); });
  });
  slider.addEventListener("input", () => { stop(); time = Number(slider.value); draw(); });
  choice.addEventListener("change", () => {
    stop();
    [motion, time] = [motions[choice.selectedIndex], 0];
    slider.max = motion.times.at(-1);
    draw();
  });
  addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  choice.append(...motions.map(({ name, label }) => new Option(label ? `${name}: ${label}` : name)));
  slider.max = motion.times.at(-1);
  home.hidden = false;
  draw();
}
