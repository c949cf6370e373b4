// One calendar month of UTC, as quotas count it: what was used, what the limit is, and where it leads. Pure.
//
// The forecast is simple: what is used so far, and for what is left of the month the mean of the last seven whole days.
// Before there is a whole day there is none.

export const DAY_MS = 86_400_000;
const MEAN_DAYS = 7;
export const WARN_SHARE = 0.8;

export const monthStart = (ms, ahead = 0) => Date.UTC(new Date(ms).getUTCFullYear(), new Date(ms).getUTCMonth() + ahead, 1);
export const monthName = (ms) => new Date(ms).toISOString().slice(0, 7);
const dayStart = (ms) => ms - (ms % DAY_MS);

// From when on days are asked for.
export const daysFrom = (nowMs) => Math.min(monthStart(nowMs), dayStart(nowMs) - MEAN_DAYS * DAY_MS);

// `days`: day's begin in ms -> used. {used, forecast, meanDays, byDay: [{time, used, forecast}]}, times being the days' ends.
export function monthOf(days, nowMs) {
  const start = monthStart(nowMs), end = monthStart(nowMs, 1), today = dayStart(nowMs);
  const first = Math.min(...days.keys());
  const whole = Array.from({ length: MEAN_DAYS }, (_, i) => today - (i + 1) * DAY_MS).filter((day) => day >= first);
  const mean = whole.length ? whole.reduce((sum, day) => sum + (days.get(day) ?? 0), 0) / whole.length : null;
  const byDay = [];
  let used = 0;
  let ahead = null;
  for (let day = start; day < end; day += DAY_MS) {
    if (day <= today) used += days.get(day) ?? 0;
    if (day === today && mean !== null) ahead = used + mean * (today + DAY_MS - nowMs) / DAY_MS;
    else if (ahead !== null) ahead += mean;
    byDay.push({ time: day, used: day <= today ? used : null, forecast: ahead });
  }
  return { used, forecast: ahead === null ? null : Math.round(ahead), meanDays: whole.length, byDay };
}

// How near a limit is: [word, level].
export function levelOf(used, limit) {
  if (!limit) return ["no limit", ""];
  if (used >= limit) return ["spent", "bad"];
  return used >= WARN_SHARE * limit ? ["over 80 %", "warn"] : ["within the limit", "good"];
}
