import { type PlannedLayer, statisticsBytes } from './planned-layer.js';

/**
 * Layers in groups whose inputs' covariances are in memory at a time, in the order of execution.
 * @param limit bytes of a group; a layer that takes more is alone.
 */
export function wavesOf(layers: readonly PlannedLayer[], limit: number): PlannedLayer[][] {
  const waves: PlannedLayer[][] = [];
  let bytes = 0;
  for (const planned of layers) {
    const own = statisticsBytes(planned.layer);
    const last = waves.at(-1);
    if (last && bytes + own <= limit) {
      last.push(planned);
      bytes += own;
    } else {
      waves.push([planned]);
      bytes = own;
    }
  }
  return waves;
}
