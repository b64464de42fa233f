import { trainingLane } from '../../training/training-lane.js';
import { imageLosses } from './image-losses.js';

/** Entry point of the threads that fine-tune models of images. */
export default trainingLane(imageLosses);
