const HALF_FRAME = 8; // milliseconds at 60 frames a second

// Shows phases [{name, ms}] one after the other by calling show(name), and
// finally calls done([milliseconds that each phase lasted]). A phase begins and
// ends with a frame of the screen, the frame nearest to the intended time.
// Returns a function that stops the phases.
function play(phases, show, done) {
  const lasted = [];
  let at = -1;
  let since = 0;
  let request = requestAnimationFrame(frame);

  function frame(now) {
    if (at < 0 || now - since >= phases[at].ms - HALF_FRAME) {
      if (at >= 0) lasted.push(now - since);
      at += 1;
      since = now;
      if (at === phases.length) return done(lasted);
      show(phases[at].name);
    }
    request = requestAnimationFrame(frame);
  }
  return () => cancelAnimationFrame(request);
}
