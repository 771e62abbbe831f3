/** One COCO document from those of several images. */
import { Problem } from "./problems.js";
import { uniqueNames } from "./zip.js";

/** Image and annotation ids are counted anew, equal file names are told apart; the documents must have the same categories. */
export function joinCoco(documents) {
  const categories = documents[0]?.categories ?? [];
  const images = [];
  const annotations = [];
  for (const document of documents) {
    if (JSON.stringify(document.categories) !== JSON.stringify(categories)) {
      throw new Problem("No single COCO file", "The models of these photos have different classes. Run the photos again with one model.");
    }
    const ids = new Map();
    for (const image of document.images) {
      ids.set(image.id, images.length + 1);
      images.push({ ...image, id: images.length + 1 });
    }
    for (const annotation of document.annotations) {
      annotations.push({ ...annotation, id: annotations.length + 1, image_id: ids.get(annotation.image_id) });
    }
  }
  uniqueNames(images.map((image) => image.file_name)).forEach((name, at) => { images[at].file_name = name; });
  return { ...documents[0], images, categories, annotations };
}
