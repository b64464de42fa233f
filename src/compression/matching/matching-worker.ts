import { trainingLane } from '../../training/training-lane.js';
import { partLosses } from './part-losses.js';

/** Entry point of the threads that match parts of blocks. */
export default trainingLane(partLosses);
