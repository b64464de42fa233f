import { trainingLane } from '../training/training-lane.js';
import { languageLosses } from './language-losses.js';

/** Entry point of the threads that fine-tune language models. */
export default trainingLane(languageLosses);
